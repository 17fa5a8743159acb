package e2e_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// servers are those of all scripts, which run in parallel, by process.
var servers = struct {
	sync.Mutex
	of map[int]*running
}{of: map[int]*running{}}

// watchers are the same for watching, by the script's folder.
var watchers = struct {
	sync.Mutex
	of map[string]*watcher
}{of: map[string]*watcher{}}

const (
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	base62  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	slashed = base62 + "/" // of base64, without what a pattern would read as an operator
)

func draw(n int, digits string) string {
	out := make([]byte, n)
	for i := range out {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(digits))))
		if err != nil {
			panic(err)
		}
		out[i] = digits[k.Int64()]
	}
	return string(out)
}

// gitHubToken has the checksum that GitHub's tokens have: CRC-32 in base 62.
func gitHubToken() string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body, sum := draw(30, base62), [6]byte{}
	n := crc32.ChecksumIEEE([]byte(body))
	for i := len(sum) - 1; i >= 0; i-- {
		sum[i] = digits[n%62]
		n /= 62
	}
	return "ghp_" + body + string(sum[:])
}

func privateKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

// plant writes a file with a fresh secret. SECRET is what must stay hidden,
// PUBLIC_ID what may be seen.
func plant(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "plant KIND FILE")
	switch kind := args[0]; kind {
	case "aws":
		id, secret := "AKIA"+draw(16, upper), draw(35, slashed)+"aB3/9"
		ts.Setenv("PUBLIC_ID", id)
		ts.Setenv("SECRET", secret)
		write(ts, args[1], "[default]\naws_access_key_id = "+id+"\naws_secret_access_key = "+secret+"\n")
	case "github":
		token := gitHubToken()
		ts.Setenv("SECRET", token)
		write(ts, args[1], "steps:\n  - run: git push\n    env:\n      GITHUB_TOKEN: "+token+"\n")
	case "pem":
		text, err := privateKey()
		ts.Check(err)
		write(ts, args[1], text)
	default:
		ts.Fatalf("there is no kind of secret %q", kind)
	}
}

func embed(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "embed FILE VALUE")
	write(ts, args[0], "package pay\n\n// TODO: take this out before we publish.\nconst key = \""+args[1]+"\"\n\nfunc Key() string { return key }\n")
}

func write(ts *testscript.TestScript, name, text string) {
	path := ts.MkAbs(name)
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, []byte(text), 0o600))
}

// trail writes thirty days of a workload that reads and writes one bucket from
// one address. In a theft, somebody then uses its key from elsewhere.
func trail(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "trail FILE quiet|theft")
	start := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	var records []map[string]any
	add := func(at time.Time, service, name, address, agent string) {
		records = append(records, record(len(records), at, service, name, address, agent))
	}
	for i := range 30 * 24 {
		name := [...]string{"GetObject", "PutObject", "ListObjectsV2"}[i%3]
		add(start.Add(time.Duration(i)*time.Hour), "s3", name, "3.120.10.20", "aws-sdk-go-v2/1.30.0 os/linux lang/go#1.26")
	}
	if args[1] == "theft" {
		for i, name := range []string{"GetCallerIdentity", "ListUsers", "ListBuckets", "CreateUser", "AttachUserPolicy", "CreateAccessKey", "GetSecretValue", "StopLogging"} {
			service := [...]string{"sts", "iam", "s3", "iam", "iam", "iam", "secretsmanager", "cloudtrail"}[i]
			add(start.Add(30*24*time.Hour+time.Duration(i)*time.Second), service, name, "185.220.101.5", "Boto3/1.34.0 md/Botocore#1.34.0 ua/2.0 os/linux#kali")
		}
	}
	data, err := framed(args[0], records)
	ts.Check(err)
	write(ts, args[0], string(data))
}

func record(n int, at time.Time, service, name, address, agent string) map[string]any {
	return map[string]any{
		"eventVersion": "1.09", "eventTime": at.Format(time.RFC3339), "eventSource": service + ".amazonaws.com", "eventName": name,
		"awsRegion": "eu-central-1", "sourceIPAddress": address, "userAgent": agent,
		"eventID": fmt.Sprintf("00000000-0000-4000-8000-%012d", n), "eventType": "AwsApiCall", "eventCategory": "Management", "recipientAccountId": "210987654321",
		"userIdentity": map[string]any{
			"type": "IAMUser", "principalId": "AIDAQ3EGRZ4KSETTLER01", "arn": "arn:aws:iam::210987654321:user/settler", "accountId": "210987654321",
			"accessKeyId": "AKIAQ3EGRZ4KEXAMPLE1", "userName": "settler",
		},
	}
}

// framed writes records in the form that the name asks for.
func framed(name string, records []map[string]any) ([]byte, error) {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	if strings.Contains(name, ".ndjson") {
		for _, r := range records {
			if err := enc.Encode(r); err != nil {
				return nil, err
			}
		}
	} else if err := enc.Encode(map[string]any{"Records": records}); err != nil {
		return nil, err
	}
	if !strings.HasSuffix(name, ".gz") {
		return plain.Bytes(), nil
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(plain.Bytes()); err != nil {
		return nil, err
	}
	err := w.Close()
	return packed.Bytes(), err
}
