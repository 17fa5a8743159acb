package awsops

import "testing"

func TestActionsAreTakenApart(t *testing.T) {
	for action, want := range map[string][2]string{
		"s3:GetObject": {"s3", "GetObject"}, "access-analyzer:ListFindings": {"access-analyzer", "ListFindings"}, "ec2:RunInstances2": {"ec2", "RunInstances2"},
		"s3:*": {}, "s3:Get*": {}, "*": {}, "": {}, ":Get": {}, "s3:": {}, "s3:getObject": {}, "S3:GetObject": {}, "s3:Get:Object": {}, "s3 :Get": {}, "GET /x": {},
	} {
		service, op, ok := Split(action)
		if service != want[0] || op != want[1] || ok != (want[0] != "") {
			t.Errorf("Split(%q) = %q, %q, %v", action, service, op, ok)
		}
	}
}

func TestAGuessIsCalledOne(t *testing.T) {
	for _, tt := range []struct {
		service, op string
		readOnly    bool
		known       bool
	}{
		{"s3", "GetObject", false, true}, {"iam", "UnheardOf", false, true}, {"kms", "DisableKey", false, true},
		{"x", "UnheardOf", false, false}, {"x", "UnheardOf", true, false}, {"x", "", true, false},
	} {
		if class, known := Class(tt.service, tt.op, tt.readOnly); known != tt.known || !class.Valid() {
			t.Errorf("Class(%s, %s, %v) = %s, known %v", tt.service, tt.op, tt.readOnly, class, known)
		}
	}
}
