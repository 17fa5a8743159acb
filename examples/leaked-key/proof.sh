# What the workload and its cluster do with keys, in shell, with openssl alone.
# A real program uses a library; here every step can be read. Sourced by `run`.

# base64url encodes its input as RFC 7515 wants it: no padding, safe in URLs.
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# from_hex turns hexadecimal digits on its input into bytes.
from_hex() { printf '%b' "$(sed 's/../\\x&/g')"; }

random() { openssl rand -hex 16; }

# cluster_begin FOLDER makes the cluster's signing key, and publishes its public
# half as a JSON web key set (RFC 7517) where nginx serves it.
cluster_begin() {
	cluster_key=$1/cluster.pem
	mkdir -p "$1/cluster"
	openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$cluster_key" 2>/dev/null ||
		openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$cluster_key" 2>/dev/null
	local n
	n=$(openssl rsa -in "$cluster_key" -noout -modulus | sed 's/^Modulus=//' | from_hex | base64url)
	printf '{"keys":[{"kty":"RSA","kid":"cluster-1","use":"sig","alg":"RS256","n":"%s","e":"AQAB"}]}\n' "$n" >"$1/cluster/keys.json"
}

# cluster_token ISSUER says who the workload is, as Kubernetes says it of a
# service account: a JWT that lives ten minutes.
cluster_token() {
	local now head body
	now=$(date +%s)
	head=$(printf '{"alg":"RS256","kid":"cluster-1","typ":"JWT"}' | base64url)
	body=$(printf '{"iss":"%s","aud":["muster"],"sub":"system:serviceaccount:payments:settlement","iat":%d,"nbf":%d,"exp":%d,"jti":"%s","kubernetes.io":{"namespace":"payments","serviceaccount":{"name":"settlement","uid":"6f1d3f4e-2b0c-4a64-9a55-0f3a52a1c7de"}}}' \
		"$1" "$now" "$now" "$((now + 600))" "$(random)" | base64url)
	printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign "$cluster_key" -binary | base64url)"
}

# workload_begin FOLDER makes the key that never leaves the workload.
workload_begin() {
	workload_key=$1/workload.pem
	openssl ecparam -name prime256v1 -genkey -noout -out "$workload_key"
	# The last 64 bytes of the public key in DER are its two coordinates.
	openssl ec -in "$workload_key" -pubout -outform DER -out "$1/workload.der" 2>/dev/null
	workload_x=$(tail -c 64 "$1/workload.der" | head -c 32 | base64url)
	workload_y=$(tail -c 32 "$1/workload.der" | base64url)
}

# es256 signs its input as RFC 7518, section 3.4 wants it: two numbers of 32
# bytes each. openssl wraps them in DER, which drops and adds leading zeros.
es256() {
	openssl dgst -sha256 -sign "$workload_key" -binary | openssl asn1parse -inform DER |
		sed -n 's/.*INTEGER *://p' | while read -r number; do
		number=0000000000000000000000000000000000000000000000000000000000000000$number
		printf '%s' "${number: -64}"
	done | from_hex | base64url
}

# dpop METHOD URL [TOKEN] proves that whoever sends this request holds the
# workload's key (RFC 9449). Each request needs a proof of its own.
dpop() {
	local head body ath=
	if [ $# -gt 2 ]; then
		ath=",\"ath\":\"$(printf '%s' "$3" | openssl dgst -sha256 -binary | base64url)\""
	fi
	head=$(printf '{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"%s","y":"%s"}}' "$workload_x" "$workload_y" | base64url)
	body=$(printf '{"jti":"%s","htm":"%s","htu":"%s","iat":%d%s}' "$(random)" "$1" "$2" "$(date +%s)" "$ath" | base64url)
	printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | es256)"
}
