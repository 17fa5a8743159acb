# Ten days of what the workload usually does, as CloudTrail records. Sourced by
# `run`.
#
# The records are those of the company's own interface, in the form in which a
# gateway writes them to CloudTrail Lake: the event source is the resource and
# the event name is the operation, exactly as routes.yaml spells both. Decisions
# are learned by the same two words, so what was usual in the log is usual at
# the edge.

# history ADDRESS AGENT writes the records, one JSON object a line, the oldest
# first. Every half hour the workload reads a few payments; every two hours it
# lists them and books one.
history() {
	local now at n=0 i
	now=$(date +%s)
	for ((at = now - 10 * 86400; at < now - 120; at += 1800)); do
		for i in 0 1 2 3; do
			record "$1" "$2" $((at + i * 11)) "GET /payments/{id}" true $((n += 1))
		done
		if ((at / 1800 % 4 == 0)); then
			record "$1" "$2" $((at + 50)) "GET /payments" true $((n += 1))
			record "$1" "$2" $((at + 60)) "POST /payments" false $((n += 1))
		fi
	done
}

# record ADDRESS AGENT SECONDS OPERATION READONLY NUMBER writes one record.
record() {
	printf '{"eventVersion":"1.09","userIdentity":{"type":"IAMUser","principalId":"AIDATCPLM4VYSETTLEM01","arn":"arn:aws:iam::210987654321:user/services/settlement","accountId":"210987654321","accessKeyId":"AKIATCPLM4VYSETTLE01","userName":"settlement"},"eventTime":"%(%Y-%m-%dT%H:%M:%SZ)T","eventSource":"payments/api","eventName":"%s","awsRegion":"eu-west-1","sourceIPAddress":"%s","userAgent":"%s","requestParameters":null,"responseElements":null,"eventID":"00000000-0000-4000-8000-%012d","readOnly":%s,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"210987654321","eventCategory":"Management"}\n' \
		"$3" "$4" "$1" "$2" "$6" "$5"
}
