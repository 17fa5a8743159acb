package useragent

import (
	"fmt"
	"strings"
	"testing"
)

func TestFamily(t *testing.T) {
	for ua, want := range map[string]string{
		"": "", "  ": "", "[]": "",
		"aws-cli/2.13.0 Python/3.11.4 Linux/5.10.0-1234-aws exe/x86_64.ubuntu.22": "aws-cli",
		"aws-cli/1.15.42 Python/3.6.1 Darwin/17.7.0 botocore/1.10.42":             "aws-cli",
		"aws-cli/2.13.5 Python/3.11.4 exec-env/CloudShell exe/x86_64.amzn.2":      "aws-cloudshell",
		"Boto3/1.26.0": "boto3",
		"Boto3/1.34.1 md/Botocore#1.34.1 ua/2.0 os/linux#5.10":                       "boto3",
		"Botocore/1.31.0 ua/2.0":                                                     "botocore",
		"aws-sdk-go-v2/1.14.0 os/macos lang/go/1.17.6 md/GOOS/darwin api/iam/1.17.0": "aws-sdk-go-v2",
		"aws-sdk-go/1.15.12 (go1.12.6; linux; amd64)":                                "aws-sdk-go",
		"APN/1.0 HashiCorp/1.0 Terraform/1.1.2 (+https://www.terraform.io)":          "terraform",
		"aws-sdk-go/1.29.7 (go1.13.7) APN/1.0 HashiCorp/1.0 Terraform/0.12.24":       "terraform",
		"aws-internal/3 aws-sdk-java/1.11.706 Linux/4.9":                             "aws-internal",
		"AWS Internal": "aws-internal",
		"[S3Console/0.4, aws-internal/3 aws-sdk-java/1.11]": "S3Console",
		"[Mozilla/5.0 (Macintosh) Chrome/131.0.0.0]":        "Mozilla",
		"Mozilla":                   "Mozilla",
		"console.amazonaws.com":     "aws-console",
		"console.ec2.amazonaws.com": "aws-console",
		"signin.amazonaws.com":      "aws-console",
		"lambda.amazonaws.com":      "lambda.amazonaws.com",
		"kubectl/v1.28.0 (linux/amd64) kubernetes/855e7c4": "kubectl",
		"Kubernetes Java Client/18.0.0-SNAPSHOT":           "kubernetes-java-client",
		"python-requests/2.31.0":                           "python-requests",
		"curl/7.68.0":                                      "curl",
		"Go-http-client/2.0":                               "go-http-client",
		"trufflehog/3.63.0":                                "trufflehog",
		"TruffleHog":                                       "trufflehog",
		"ELB-HealthChecker/2.0":                            "elb-healthchecker",
		"Microsoft Office/16.0":                            "microsoft-office",
		"PostmanRuntime/7.36.0":                            "postman",
		"payments-worker-1.44.2":                           "payments-worker",
		"payments-worker-7f9c6b5d4d-x2x4k/1.0":             "payments-worker",
		"job 20260601123000":                               "job",
		"3f2504e0-4f89-11d3-9a0c-0305e82c3301":             "other",
		"12.5":                                             "other",
		"\x1b[31mred\x1b[0m/1.0":                           "31mred0m",
		"<script>alert(1)</script>":                        "scriptalert",
		"=HYPERLINK(\"x\")":                                "hyperlink",
		"日本語/1.0":                                          "other",
	} {
		if got := Family(ua); got != want {
			t.Errorf("Family(%q) = %q, want %q", ua, got, want)
		}
	}
}

func TestTheNextVersionIsTheSameFamily(t *testing.T) {
	for _, shape := range []string{"boto3/%s", "my-tool-%s", "my-tool_v%s", "my-tool %s (linux)", "My Tool/%s", "aws-sdk-go-v2/%s os/linux"} {
		a, b := Family(fmt.Sprintf(shape, "1.9.3")), Family(fmt.Sprintf(shape, "2.10.0"))
		if a != b || a == Other || strings.Contains(a, "1.9") {
			t.Errorf("%s: %q and %q, want one family", shape, a, b)
		}
	}
}

func TestALongAgentIsJudgedByItsBeginning(t *testing.T) {
	if got := Family("curl/8 " + strings.Repeat("a", 1<<20) + "terraform"); got != "curl" {
		t.Errorf("Family = %q, want curl", got)
	}
	if got := Family(strings.Repeat("x", 1<<20)); len(got) != MaxFamily {
		t.Errorf("Family has %d bytes, want %d", len(got), MaxFamily)
	}
}

func TestHumanMeansPeoplesTools(t *testing.T) {
	for ua, want := range map[string]bool{
		"Mozilla/5.0": true, "S3Console/0.4": true, "signin.amazonaws.com": true, "aws-cli/2.1": true, "kubectl/v1": true, "curl/8": true,
		"Boto3/1": false, "terraform/1": false, "lambda.amazonaws.com": false, "": false, "unheard-of/1": false,
	} {
		if got := Human(Family(ua)); got != want {
			t.Errorf("Human(%q) = %v, want %v", ua, got, want)
		}
	}
}

func FuzzFamily(f *testing.F) {
	for _, ua := range []string{"Boto3/1.26.0", "[S3Console/0.4]", "a b c d e/1", "tool-1.2", "deadbeef1-x", "\x00\xff", "console..amazonaws.com"} {
		f.Add(ua)
	}
	f.Fuzz(func(t *testing.T, ua string) {
		got := Family(ua)
		if len(got) > MaxFamily {
			t.Errorf("Family(%q) has %d bytes", ua, len(got))
		}
		for i := range len(got) {
			c := got[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || digit(c) || c == '-' || c == '_' || c == '.') {
				t.Errorf("Family(%q) = %q has a character outside the alphabet", ua, got)
			}
		}
		if again := Family(ua); again != got {
			t.Errorf("Family(%q) is %q, then %q", ua, got, again)
		}
	})
}

func BenchmarkFamily(b *testing.B) {
	for name, ua := range map[string]string{
		"known":   "Boto3/1.34.1 md/Botocore#1.34.1 ua/2.0 os/linux#5.10 md/arch#x86_64 lang/python#3.11.4",
		"unknown": "payments-worker/1.44.2 (linux; amd64)",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Family(ua)
			}
		})
	}
}

func ExampleFamily() {
	fmt.Println(Family("aws-sdk-go-v2/1.30.3 os/linux lang/go#1.26"))
	fmt.Println(Family("APN/1.0 HashiCorp/1.0 Terraform/1.9.1"))
	// Output:
	// aws-sdk-go-v2
	// terraform
}
