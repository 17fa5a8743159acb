package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/nhi"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

var at = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

var formOf = map[string]string{
	"details.json": AuthorizationDetails, "keys.json": AccessKeys,
	"report.csv": CredentialReport, "report.json": CredentialReport,
}

func TestFilesBecomeTheObservationBesideThem(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range archives {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in := connector.Input{At: at}
			var inputs []txtar.File
			var want string
			for _, f := range archive.Files {
				if f.Name == "want.json" {
					want = string(f.Data)
					continue
				}
				inputs = append(inputs, f)
				in.Files = append(in.Files, connector.File{Form: formOf[f.Name], Name: f.Name, Reader: bytes.NewReader(f.Data)})
			}
			report, err := Read(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(report); err != nil {
				t.Fatal(err)
			}
			if *update {
				archive.Files = append(inputs, txtar.File{Name: "want.json", Data: got.Bytes()})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

const oneUser = `{"UserDetailList":[{"UserName":"u","UserId":"AIDAQ3EGRZ4KGOOD00001","Arn":"arn:aws:iam::210987654321:user/u"}]}`

func read(details, keys, report string) (connector.Report, error) {
	in := connector.Input{At: at}
	for _, f := range []struct{ form, name, text string }{
		{AuthorizationDetails, "details.json", details}, {AccessKeys, "keys.json", keys}, {CredentialReport, "report.csv", report},
	} {
		if f.text != "" {
			in.Files = append(in.Files, connector.File{Form: f.form, Name: f.name, Reader: strings.NewReader(f.text)})
		}
	}
	return Read(context.Background(), in)
}

func TestAWrongFileIsAnErrorThatNamesFileAndPlace(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for _, tt := range []struct {
		name                  string
		details, keys, report string
		want                  string
	}{
		{"empty", " ", "", "", "details.json: byte"},
		{"truncated in a user", oneUser[:60], "", "", "truncated"},
		{"truncated at the end", oneUser[:len(oneUser)-1], "", "", "truncated"},
		{"text", "hello", "", "", "details.json: byte"},
		{"a list of numbers", "[1,2]", "", "", "details.json: byte"},
		{"keys given as details", `{"AccessKeyMetadata":[]}`, "", "", "is it the output of aws iam get-account-authorization-details?"},
		{"a list that is none", `{"UserDetailList":{"a":1}}`, "", "", "UserDetailList is the sign {, not a list"},
		{"nobody in it", `{"UserDetailList":[]}`, "", "", "no user and no role"},
		{"UTF-16", "\xff\xfe{\x00", "", "", "UTF-16"},
		{"gzip", "\x1f\x8b\x08", "", "", "compressed"},
		{"deep", `{"UserDetailList":[` + deep + `]}`, "", "", "no user and no role"},
		{"two accounts", strings.Replace(oneUser, "]}", `,{"UserName":"v","UserId":"AIDAX","Arn":"arn:aws:iam::999999999999:user/v"}]}`, 1), "", "",
			"import accounts one at a time"},
		{"details given as keys", oneUser, oneUser, "", "keys.json: no AccessKeyMetadata"},
		{"keys truncated", oneUser, `{"AccessKeyMetadata":[{"UserName":`, "", "keys.json: byte"},
		{"report of another account", oneUser, "", "user,arn,password_enabled,access_key_1_active,access_key_1_last_rotated\nu,arn:aws:iam::999999999999:user/u,false,false,N/A\n",
			"import accounts one at a time"},
		{"report without its columns", oneUser, "", "name,age\nx,1\n", "report.csv: line 1: no column user"},
		{"report cut in a row", oneUser, "", "user,arn,password_enabled,access_key_1_active,access_key_1_last_rotated\nu,arn:aws:iam::2109", "report.csv: line 2"},
		{"report with a wild quote", oneUser, "", "user,arn,password_enabled,access_key_1_active,access_key_1_last_rotated\n\"u,a,b,c,d", "report.csv: line"},
		{"report in broken base64", oneUser, "", `{"Content":"%%%"}`, "report.csv: field Content"},
		{"report in truncated JSON", oneUser, "", `{"Content":"QUJ`, "report.csv: byte"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := read(tt.details, tt.keys, tt.report)
			if err == nil || !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one that is invalid and says %q", err, tt.want)
			}
			if len(r.Observation.Identities) != 0 {
				t.Errorf("a wrong file yields %d identities", len(r.Observation.Identities))
			}
		})
	}
}

func TestHugeInputEndsInAnErrorAndNotInMemory(t *testing.T) {
	endless := func(head, body string) io.Reader {
		return io.MultiReader(strings.NewReader(head), &repeat{text: body})
	}
	for _, tt := range []struct {
		name string
		r    io.Reader
	}{
		{"one endless string", endless(`{"UserDetailList":[{"UserName":"`, "aaaaaaaaaaaaaaaa")},
		{"one endless unknown field", endless(`{"Else":"`, "aaaaaaaaaaaaaaaa")},
		{"endless depth", endless(`{"UserDetailList":[`, "[[[[[[[[[[[[[[[[")},
		{"endless white space", endless(`{`, "                ")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(t.Context(), connector.Input{At: at, Files: []connector.File{{Form: AuthorizationDetails, Name: "big.json", Reader: tt.r}}})
			if !errors.Is(err, nhi.ErrTooLarge) && !errors.Is(err, nhi.ErrInvalid) {
				t.Errorf("err = %v, want too large or invalid", err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "big.json: byte ") {
				t.Errorf("err = %v, want file and place", err)
			}
		})
	}
}

// repeat is a text without end.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at%len(r.text)]
		r.at++
	}
	return len(p), nil
}

func TestHostileNamesAreCleaned(t *testing.T) {
	r, err := read(`{"UserDetailList":[{"UserName":"a\u001b[31mb\u0000\u202ec","UserId":"AIDAX","Arn":"arn:aws:iam::210987654321:user/x",
		"Tags":[{"Key":"k\u0007","Value":"`+strings.Repeat("v", 5000)+`"}]}]}`, "", "")
	if err != nil {
		t.Fatal(err)
	}
	i := r.Observation.Identities[0]
	if i.Name != "a\ufffd[31mb\ufffd\ufffdc" || len(i.Labels["k\ufffd"]) != 256 {
		t.Errorf("name %q, labels of %d bytes", i.Name, len(i.Labels["k\ufffd"]))
	}
}

func TestOnlyAWSOwnAdministratorAccessIsAdminByName(t *testing.T) {
	for arn, want := range map[string]bool{
		"arn:aws:iam::aws:policy/AdministratorAccess":          true,
		"arn:aws-us-gov:iam::aws:policy/AdministratorAccess":   true,
		"arn:aws:iam::210987654321:policy/AdministratorAccess": false,
		"arn:aws:iam::aws:policy/AdministratorAccess-Amplify":  false,
		"AdministratorAccess":                                  false,
	} {
		if got := administratorAccess(arn); got != want {
			t.Errorf("administratorAccess(%s) = %v, want %v", arn, got, want)
		}
	}
	for doc, want := range map[string]bool{
		`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`:                                         true,
		`{"Statement":[{"Effect":"Allow","Action":["s3:Get*","*:*"],"Resource":["x","*"]}]}`:                   true,
		`{"Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`:                                        false,
		`{"Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}`:                                   false,
		`{"Statement":[{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}]}`:                                false,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:x":"true"}}}]}`: false,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b"}]}`:                          false,
		`not json`: false,
	} {
		if got := admin(doc); got != want {
			t.Errorf("admin(%s) = %v, want %v", doc, got, want)
		}
	}
}

func TestTheSameFilesGiveTheSameReport(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/account.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var first connector.Report
	for n := range 3 {
		r, err := read(string(archive.Files[0].Data), string(archive.Files[1].Data), string(archive.Files[2].Data))
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = r
		}
		if diff := cmp.Diff(first, r); diff != "" {
			t.Errorf("run %d differs:\n%s", n, diff)
		}
	}
}

func FuzzAuthorizationDetails(f *testing.F) {
	f.Add([]byte(oneUser))
	f.Add([]byte(`[{"Policies":[{"Arn":"a","PolicyVersionList":[{"IsDefaultVersion":true,"Document":"%7B%7D"}]}]}]`))
	f.Add([]byte(`{"RoleDetailList":[{"RoleName":"r","RoleId":"AROA1","Arn":"arn:aws:iam::210987654321:role/r","AssumeRolePolicyDocument":"{}","CreateDate":1e9}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sane(t, connector.File{Form: AuthorizationDetails, Name: "f", Reader: bytes.NewReader(b)})
	})
}

func FuzzAccessKeys(f *testing.F) {
	f.Add([]byte(`{"AccessKeyMetadata":[{"UserName":"u","AccessKeyId":"AKIAQ3EGRZ4KEXAMPLE1","Status":"Active","CreateDate":"2024-05-02T08:15:01Z"}]}`))
	f.Add([]byte(`[{"UserName":"u","AccessKeyId":"AKIAQ3EGRZ4KEXAMPLE1"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sane(t, connector.File{Form: AuthorizationDetails, Name: "d", Reader: strings.NewReader(oneUser)}, connector.File{Form: AccessKeys, Name: "f", Reader: bytes.NewReader(b)})
	})
}

func FuzzCredentialReport(f *testing.F) {
	f.Add([]byte("user,arn,password_enabled,access_key_1_active,access_key_1_last_rotated\nu,arn:aws:iam::210987654321:user/u,true,true,2024-05-02T08:15:01Z\n"))
	f.Add([]byte(`{"Content":"dXNlcg=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sane(t, connector.File{Form: AuthorizationDetails, Name: "d", Reader: strings.NewReader(oneUser)}, connector.File{Form: CredentialReport, Name: "f", Reader: bytes.NewReader(b)})
	})
}

// sane checks what holds of any input: an error that says what it is, or an
// observation of one account that the inventory can take.
func sane(t *testing.T, files ...connector.File) {
	r, err := Read(t.Context(), connector.Input{At: at, Files: files})
	if err != nil {
		if !errors.Is(err, nhi.ErrInvalid) && !errors.Is(err, nhi.ErrTooLarge) {
			t.Errorf("err = %v has no kind", err)
		}
		return
	}
	for _, i := range r.Observation.Identities {
		if i.Account != r.Observation.Account || i.ID != nhi.IdentityID(i.Provider, i.Account, i.Native) || i.Name == "" {
			t.Errorf("identity %+v", i)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("the report cannot be written: %v", err)
	}
}

func ExampleRead() {
	r, err := Read(context.Background(), connector.Input{
		At:    at,
		Files: []connector.File{{Form: AuthorizationDetails, Name: "details.json", Reader: strings.NewReader(oneUser)}},
	})
	fmt.Println(err, r.Observation.Account, r.Observation.Identities[0].ID)
	// Output: <nil> 210987654321 nhi_yuxt6hvaxeysczcgzbtsk5vcpq
}

func BenchmarkRead(b *testing.B) {
	var details strings.Builder
	details.WriteString(`{"UserDetailList":[`)
	for n := range 3000 {
		if n > 0 {
			details.WriteByte(',')
		}
		fmt.Fprintf(&details, `{"UserName":"svc-%d","UserId":"AIDA%016d","Arn":"arn:aws:iam::210987654321:user/svc-%d","CreateDate":"2024-05-02T08:15:01Z","UserPolicyList":[{"PolicyName":"p","PolicyDocument":{"Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::b/*"}]}}],"Tags":[{"Key":"team","Value":"t"}]}`, n, n, n)
	}
	details.WriteString(`]}`)
	text := details.String()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := read(text, "", ""); err != nil {
			b.Fatal(err)
		}
	}
}
