package chaos

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/server/offline"
)

// A garden is full of secrets: what is planted in it must not come up anywhere.
type garden struct {
	mu      sync.Mutex        // guards what follows
	doors   map[string]string // needle -> through which door it was sent
	planted int
}

// text returns random characters of an alphabet.
func text(n int, alphabet string) string {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(err) // never fails
	}
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

const (
	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// plant makes a secret of the next kind and remembers which part of it must
// never be seen. What it returns is on one line.
func (g *garden) plant(door string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.planted++
	switch g.planted % 3 {
	case 0:
		minted := key.Mint(key.API).Reveal()
		g.doors[strings.Split(minted, "_")[3]] = door
		return minted
	case 1:
		secret := text(40, base62+"+/")
		g.doors[secret] = door
		return "AKIA" + text(16, base32) + ":" + secret
	default:
		body := text(30, base62)
		token := "ghp_" + body + crc62(body)
		g.doors[body] = door
		return token
	}
}

// plantPEM makes a private key, on several lines.
func (g *garden) plantPEM(door string) string {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // never fails
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err) // it is a key
	}
	out := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.planted++
	g.doors[strings.Split(out, "\n")[1]] = door // the line that holds the private half
	return out
}

// crc62 is the checksum at the end of GitHub's tokens.
func crc62(body string) string {
	n := crc32.ChecksumIEEE([]byte(body))
	out := make([]byte, 6)
	for i := 5; i >= 0; i-- {
		out[i] = base62[n%62]
		n /= 62
	}
	return string(out)
}

// search looks for everything planted, in one pass over data.
func (g *garden) search(data []byte, found func(needle, door string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	const head = 8
	index := make(map[uint64][]string, len(g.doors))
	for needle := range g.doors {
		index[binary.LittleEndian.Uint64([]byte(needle))] = append(index[binary.LittleEndian.Uint64([]byte(needle))], needle)
	}
	for i := 0; i+head <= len(data); i++ {
		for _, needle := range index[binary.LittleEndian.Uint64(data[i:])] {
			if bytes.HasPrefix(data[i:], []byte(needle)) {
				found(needle, g.doors[needle])
			}
		}
	}
}

// deep searches data, and everything compressed that lies in it.
func (g *garden) deep(data []byte, found func(needle, door string)) {
	g.search(data, found)
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte{0x28, 0xb5, 0x2f, 0xfd})
		if i < 0 {
			break
		}
		at += i + 1
		d, err := zstd.NewReader(bytes.NewReader(data[at-1:]), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			continue
		}
		inside, _ := io.ReadAll(d) // what follows the frame is no frame; what was read counts
		d.Close()
		g.search(inside, found)
	}
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte{0x1f, 0x8b, 0x08})
		if i < 0 {
			return
		}
		at += i + 1
		z, err := gzip.NewReader(bytes.NewReader(data[at-1:]))
		if err != nil {
			continue
		}
		z.Multistream(false)
		inside, _ := io.ReadAll(io.LimitReader(z, 64<<20))
		g.search(inside, found)
	}
}

// A tester sends through every door and keeps every answer.
type tester struct {
	*company
	*garden
	answers lines
}

// send makes a request and keeps the answer, whatever it is.
func (s *tester) send(t *testing.T, method, target string, header map[string]string, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.child.url+target, strings.NewReader(body))
	if err != nil {
		return // what cannot be sent cannot leak
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := (&http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		if strings.Contains(err.Error(), "invalid header") {
			return
		}
		t.Errorf("%s %.60s: %v", method, target, err)
		return
	}
	defer res.Body.Close()
	_ = res.Header.Write(&s.answers)
	if _, err := io.Copy(&s.answers, res.Body); err != nil {
		t.Errorf("%s %.60s: %v", method, target, err)
	}
	if res.StatusCode == http.StatusInternalServerError {
		t.Errorf("%s %.60s: status 500", method, target)
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return string(b)
}

// logDoors sends secrets in records, in pieces that are none, and in free text.
func (s *tester) logDoors(t *testing.T, source, forum map[string]string) {
	account := s.Accounts[0].ID
	record := func(replace, door string) string {
		rec := fmt.Sprintf(`{"eventVersion":"1.09","userIdentity":{"type":"AssumedRole","principalId":"AROA%s:%%session","arn":"arn:aws:sts::%s:assumed-role/%%role/%%session","accountId":"%s","accessKeyId":"ASIA%s","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA%s","arn":"arn:aws:iam::%s:role/%%role","accountId":"%s","userName":"%%role"},"sourceIdentity":"%%source"}},"eventTime":"%s","eventSource":"%%service","eventName":"%%operation","awsRegion":"%%region","sourceIPAddress":"%%address","userAgent":"%%agent","errorCode":"%%code","errorMessage":"%%message","requestParameters":{"bucketName":"%%bucket","password":"%%parameter"},"responseElements":{"token":"%%response"},"eventID":"%%event","readOnly":true,"recipientAccountId":"%s","resources":[{"ARN":"arn:aws:s3:::%%resource","accountId":"%s"}],"eventType":"AwsApiCall"}`,
			text(17, base32), account, account, text(16, base32), text(17, base32), account, account, time.Now().UTC().Format(time.RFC3339), account, account)
		for _, field := range []string{"session", "role", "source", "service", "operation", "region", "address", "agent", "code", "message", "bucket", "parameter", "response", "event", "resource"} {
			value := map[string]string{"service": "s3.amazonaws.com", "operation": "GetObject", "region": "eu-west-1", "address": "198.51.100.7", "event": text(24, base62)}[field]
			if value == "" {
				value = "plain"
			}
			if field == replace {
				value = strings.Trim(quote(s.plant(door)), `"`)
			}
			rec = strings.ReplaceAll(rec, "%"+field, value)
		}
		return rec
	}
	for _, field := range []string{"session", "role", "source", "service", "operation", "region", "address", "agent", "code", "message", "bucket", "parameter", "response", "event", "resource"} {
		s.send(t, http.MethodPost, "/receive/logs/cloudtrail", source, record(field, "log field "+field)+"\n")
	}
	s.send(t, http.MethodPost, "/receive/logs/cloudtrail", source, "broken "+s.plant("log line that is no record")+"\n")
	s.send(t, http.MethodPost, "/receive/logs/cloudtrail", source, s.plantPEM("log that is no log"))
	s.send(t, http.MethodPost, "/receive/logs/cloudtrail", source, `{"Records":[{"eventName":"`+s.plant("log that is cut off"))
	s.send(t, http.MethodPost, "/receive/logs/"+url.PathEscape(s.plant("log format")), source, "{}")
	s.send(t, http.MethodPost, "/receive/text", forum, "look what I found: "+s.plant("text")+"\n"+s.plantPEM("text"))
	forum = map[string]string{"Authorization": forum["Authorization"], "Content-Type": "application/json"}
	s.send(t, http.MethodPost, "/receive/text", forum, `{"text":`+quote("dump "+s.plant("text in JSON"))+`,"author":`+quote(s.plant("author"))+`,"url":`+quote("https://forum.example/"+s.plant("url of a text"))+`}`)
	s.send(t, http.MethodPost, "/receive/text", forum, `{"text": "`+s.plant("broken JSON of a text"))
}

// apiDoors sends secrets where the management interface expects something else.
func (s *tester) apiDoors(t *testing.T, operator, scanner map[string]string) {
	id := string(s.Workloads[0].Identity)
	for _, path := range []string{
		"/v1/identities?q=%s", "/v1/identities/%s", "/v1/identities?page_token=%s", "/v1/identities?kind=%s", "/v1/findings?page_token=%s", "/v1/findings/%s",
		"/v1/decisions?before=%s", "/v1/decisions/%s", "/v1/documents/%s", "/v1/credentials/%s", "/v1/%s", "/signin?link=%s", "/%s", "/v1/stream?topics=%s", "/v1/audit?before=%s",
	} {
		s.send(t, http.MethodGet, fmt.Sprintf(path, url.QueryEscape(s.plant("GET "+path))), operator, "")
	}
	for _, door := range []struct{ method, path, body string }{
		{"POST", "/v1/identities", `{"name":%s,"environment":"production"}`},
		{"POST", "/v1/identities", `{"name":"a","environment":%s}`},
		{"POST", "/v1/identities", `{"name":"b","environment":"production","owner":%s}`},
		{"POST", "/v1/identities", `{"name":"c","environment":"production","unknown":%s}`},
		{"POST", "/v1/identities", `{"name":{"nested":%s}}`},
		{"POST", "/v1/identities", `{"name":%s`},
		{"PUT", "/v1/identities/" + id + "/owner", `{"owner":%s}`},
		{"POST", "/v1/identities/" + id + "/credentials", `{"expires_in":%s}`},
		{"POST", "/v1/identities/" + id + "/credentials/register", `{"kind":"registered-key","public_id":"p","value":%s}`},
		{"POST", "/v1/identities/" + id + "/credentials/register", `{"kind":%s,"value":"0123456789abcdef"}`},
		{"POST", "/v1/points", `{"name":%s}`},
		{"POST", "/v1/points", `{"name":"p","dialect":%s}`},
		{"POST", "/v1/points", `{"name":"q","sources":[%s]}`},
		{"POST", "/v1/sources", `{"name":%s,"format":"scanner"}`},
		{"POST", "/v1/sources", `{"format":"cloudtrail","accounts":[%s]}`},
		{"PUT", "/v1/documents/routes.yaml", "- {host: a, path: /a, methods: {GET: read}, resource: %s, what: b}\n"},
		{"PUT", "/v1/documents/resources.yaml", "- id: [%s\n"},
		{"PUT", "/v1/documents/trust.yaml", "- {name: a, issuer: %s}\n"},
		{"PUT", "/v1/documents/policies.cedar", "permit (principal == %s, action, resource);"},
	} {
		s.send(t, door.method, door.path, operator, fmt.Sprintf(door.body, quote(s.plant(door.method+" "+door.path+" "+door.body))))
	}
	s.send(t, http.MethodPut, "/v1/documents/policies.cedar", operator, s.plantPEM("policies"))
	for _, body := range []string{
		`{"rule":"muster-key","public_id":%s,"place":{"kind":"file","name":"a"}}`, `{"rule":"muster-key","fingerprint":%s,"place":{"kind":"file","name":"a"}}`,
		`{"rule":"muster-key","public_id":"AKIAIOSFODNN7ABCDEFG","place":{"kind":"file","name":%s}}`, `{"rule":%s,"public_id":"x","place":{"kind":"file","name":"a"}}`,
		`{"rule":"r","provider":%s,"public_id":"x","place":{"kind":"file","name":"a"}}`, `{"rule":"r","public_id":"x","place":{"kind":%s,"name":"a","commit":"b"}}`,
		`{"rule":"r","public_id":"x","place":{"kind":"file","name":"a","commit":%s}}`, `{"rule":"r","kind":%s,"public_id":"x","place":{"kind":"file","name":"a"}}`,
	} {
		s.send(t, http.MethodPost, "/v1/sightings", scanner, fmt.Sprintf(body, quote(s.plant("sighting "+body))))
	}
	s.send(t, http.MethodPost, "/v1/fingerprints/evaluate", scanner, `{"blinded":[`+quote(s.plant("blinded element"))+`]}`)
	for _, header := range []string{"Authorization", "Cookie", "Last-Event-ID", "User-Agent", "Content-Type"} {
		s.send(t, http.MethodPost, "/v1/identities", map[string]string{header: "Bearer " + s.plant("header "+header+" of the interface")}, "{}")
	}
	s.send(t, http.MethodPost, "/v1/identities", map[string]string{"Cookie": "muster=" + s.plant("cookie")}, "{}")
}

// pointDoors sends secrets to the enforcement points' interfaces.
func (s *tester) pointDoors(t *testing.T) {
	point := map[string]string{
		"Muster-Point-Authorization": "Bearer " + s.edge, "X-Original-Method": "GET", "X-Original-URI": "/payments/00000001", "X-Forwarded-Proto": "https",
		"X-Forwarded-Host": "payments.harborpine.example", "X-Forwarded-For": "198.51.100.7", "User-Agent": "curl/8.5.0",
	}
	for _, header := range []string{
		"Authorization", "DPoP", "Muster-Attestation", "Muster-Point-Authorization", "X-Original-Method", "X-Original-URI", "X-Forwarded-Host", "X-Forwarded-For",
		"X-Forwarded-Proto", "User-Agent", "X-Request-Id", "Cookie", "X-Original-URL",
	} {
		for _, shape := range []string{"%s", "Bearer %s", "/payments/00000001?api_key=%s", "DPoP %s", "/payments/%s"} {
			more := map[string]string{}
			for k, v := range point {
				more[k] = v
			}
			more[header] = fmt.Sprintf(shape, s.plant("forward-auth "+header+" "+shape))
			s.send(t, http.MethodGet, "/enforce/forward-auth", more, "")
		}
	}
	asking := map[string]string{"Authorization": "Bearer " + s.asking, "Content-Type": "application/json"}
	for _, body := range []string{
		`{"subject":{"type":"identity","id":%s},"action":{"name":"read"},"resource":{"type":"api","id":"payments/api"}}`,
		`{"subject":{"type":%s,"id":"x"},"action":{"name":"read"},"resource":{"type":"api","id":"payments/api"}}`,
		`{"subject":{"type":"identity","id":"x"},"action":{"name":%s},"resource":{"type":"api","id":"payments/api"}}`,
		`{"subject":{"type":"identity","id":"x"},"action":{"name":%s,"properties":{"class":"read"}},"resource":{"type":"api","id":"payments/api"}}`,
		`{"subject":{"type":"identity","id":"x"},"action":{"name":"read"},"resource":{"type":"api","id":%s}}`,
		`{"subject":{"type":"identity","id":"x"},"action":{"name":"read"},"resource":{"type":"api","id":"payments/api"},"context":{"ip":%s}}`,
		`{"subject":{"type":"identity","id":"x"},"action":{"name":"read"},"resource":{"type":"api","id":"payments/api"},"context":{"user_agent":%s}}`,
		`{"subject":{"type":"identity","id":"x","properties":{"secret":%s}},"action":{"name":"read"},"resource":{"type":"api","id":"payments/api"}}`,
		`{"subject":%s`,
	} {
		for _, path := range []string{"evaluation", "evaluations", "search/subject", "search/resource", "search/action"} {
			s.send(t, http.MethodPost, "/access/v1/"+path, asking, fmt.Sprintf(body, quote(s.plant("AuthZEN "+path+" "+body))))
		}
		s.send(t, http.MethodPost, "/access/v1/evaluations", asking, `{"evaluations":[`+fmt.Sprintf(body, quote(s.plant("AuthZEN item "+body)))+`]}`)
	}
	s.send(t, http.MethodPost, "/access/v1/evaluation", map[string]string{"Authorization": "Bearer " + s.plant("AuthZEN without a point")}, "{}")
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for _, field := range []string{"subject_token", "subject_token_type", "grant_type", "audience", "scope", "resource", "actor_token", "client_secret", "unknown"} {
		values := url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "subject_token": {"x.y.z"},
		}
		values.Set(field, s.plant("token endpoint "+field))
		s.send(t, http.MethodPost, "/oauth2/token", form, values.Encode())
		for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
			s.send(t, http.MethodPost, path, form, url.Values{"token": {s.plant(path)}, "token_type_hint": {s.plant(path + " hint")}}.Encode())
		}
	}
	s.send(t, http.MethodPost, "/oauth2/token", map[string]string{"Content-Type": form["Content-Type"], "DPoP": s.plant("DPoP of the token endpoint"), "Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("id:"+s.plant("client secret")))}, "grant_type=x")
}

// fileDoors sends secrets in IAM's export files and by a scan.
func (s *tester) fileDoors(t *testing.T, round int) {
	t.Helper()
	user := func(door, name, tag, policy string) string {
		return fmt.Sprintf(`{"Path":"/","UserName":%s,"UserId":"AIDA%s","Arn":"arn:aws:iam::8%011d:user/plain","CreateDate":"2026-01-02T03:04:05Z","UserPolicyList":[{"PolicyName":"p","PolicyDocument":%s}],"Tags":[{"Key":"note","Value":%s}]}`,
			quote(name), text(17, base32), round, quote(policy), quote(tag))
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"aws:UserAgent":"` + s.plant("condition of a policy") + `"}}}]}`
	details := `{"UserDetailList":[` + user("name", "user "+s.plant("name of a user"), "x", "{}") + "," + user("tag", "b", s.plant("tag of a user"), "{}") + "," + user("policy", "c", "x", policy) + `],"RoleDetailList":[],"GroupDetailList":[],"Policies":[]}`
	for _, body := range []string{details, details[:len(details)/2], s.plantPEM("export file")} {
		_, err := s.api.ImportAWS(t.Context(), map[string]io.Reader{"authorization-details": strings.NewReader(body)})
		fmt.Fprintln(&s.answers, err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "notes-"+strings.ReplaceAll(s.plant("name of a file"), "/", "-")+".txt")
	if err := os.WriteFile(file, []byte(s.plant("file")+"\n"+s.plantPEM("file")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := offline.Scan(t.Context(), offline.ScanSettings{
		Path: dir,
		Found: func(r leak.Record) error {
			out, err := json.Marshal(r)
			s.print(out, filepath.Base(file))
			return err
		},
		Reporter: &offline.Reporter{Client: s.scanner, Replied: func(_ leak.Record, r client.SightingReply) {
			_ = json.NewEncoder(&s.answers).Encode(r)
		}},
	})
	if err != nil {
		fmt.Fprintln(&s.answers, err)
	}
	for _, args := range [][]string{{"scan", dir, "-o", "json"}, {"replay", file}} {
		out, _ := exec.CommandContext(t.Context(), muster, args...).CombinedOutput() // a file that is no log ends in an error, which is an answer
		s.print(out, filepath.Base(file))
	}
}

// print keeps what is shown at the terminal of whoever scans. The name of the
// file is left out: it is theirs, and they need it to find the place.
func (s *tester) print(out []byte, file string) {
	_, _ = s.answers.Write(bytes.ReplaceAll(out, []byte(file), nil))
}

// streams collects what is sent to browsers until ctx ends.
func (s *tester) streams(ctx context.Context) {
	_ = s.api.Stream(ctx, client.StreamQuery{}, func(e client.Event) error { // ends with ctx
		_, err := s.answers.Write(append(e.Data, '\n'))
		return err
	})
}

// everythingShown asks for all that the interface can show.
func (s *tester) everythingShown(t *testing.T, operator map[string]string) {
	for _, path := range []string{
		"/v1/overview", "/v1/identities?limit=500", "/v1/findings?limit=500", "/v1/decisions?limit=500", "/v1/points", "/v1/sources", "/v1/audit?limit=500",
		"/v1/documents/routes.yaml", "/v1/documents/trust.yaml", "/v1/documents/resources.yaml", "/v1/documents/policies.cedar", "/openapi.json", "/oauth2/jwks", "/",
	} {
		s.send(t, http.MethodGet, path, operator, "")
	}
	var page client.Page[client.Identity]
	if err := s.api.Get(t.Context(), "/v1/identities", url.Values{"limit": {"500"}}, &page); err != nil {
		t.Fatal(err)
	}
	for _, i := range page.Items {
		s.send(t, http.MethodGet, "/v1/identities/"+i.ID, operator, "")
	}
	for _, path := range []string{"/metrics", "/readyz?verbose"} {
		res, err := http.Get(s.child.ops + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(&s.answers, res.Body)
		res.Body.Close()
	}
}

func TestPlantedSecretsAppearNowhere(t *testing.T) {
	c := newChild(t)
	c.start(t)
	s := &tester{company: newCompany(t, c), garden: &garden{doors: map[string]string{}}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.streams(ctx) })
	operator := bearer(t, filepath.Join(c.data, "admin.token"))
	scanner, trail, forum := s.reporter(t, "planting-scanner", "scanner"), s.reporter(t, "planting-trail", "cloudtrail"), s.reporter(t, "planting-forum", "text")
	for round := 0; s.planted < 1000; round++ {
		s.logDoors(t, trail, forum)
		s.apiDoors(t, operator, scanner)
		s.pointDoors(t)
		s.fileDoors(t, round)
	}
	s.everythingShown(t, operator)
	cancel()
	wg.Wait()
	c.stop(t)
	// The folder once more after a start, which reads and writes everything.
	c.start(t)
	s.everythingShown(t, operator)
	c.stop(t)
	s.nowhere(t)
}

func bearer(t *testing.T, file string) map[string]string {
	t.Helper()
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"Authorization": "Bearer " + strings.TrimSpace(string(token)), "Content-Type": "application/json"}
}

func (s *tester) reporter(t *testing.T, name, format string) map[string]string {
	t.Helper()
	ask := client.AddSource{Name: name, Format: format}
	if format == "cloudtrail" {
		ask.Accounts = []string{s.Accounts[0].ID}
	}
	var made client.Enrolled
	if err := s.api.Send(t.Context(), http.MethodPost, "/v1/sources", ask, &made); err != nil {
		t.Fatal(err)
	}
	kind := "application/json"
	if format == "text" {
		kind = "text/plain"
	}
	return map[string]string{"Authorization": "Bearer " + made.Key, "Content-Type": kind}
}

// nowhere searches the data folder, the log at debug level and every answer.
func (s *tester) nowhere(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	report := func(where string) func(string, string) {
		return func(needle, door string) {
			if k := where + door; !seen[k] {
				seen[k] = true
				t.Errorf("the secret %s, sent through %q, stands in %s", needle, door, where)
			}
		}
	}
	s.deep([]byte(s.child.out.String()), report("the log"))
	s.deep([]byte(s.answers.String()), report("the answers"))
	files, size := 0, 0
	err := filepath.WalkDir(s.child.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files, size = files+1, size+len(data)
		name, _ := filepath.Rel(s.child.data, path)
		s.search([]byte(name), report("the name of a file"))
		s.deep(data, report("the file "+name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d secrets were planted; searched %d files of %d bytes, %d bytes of answers, %d bytes of log", s.planted, files, size, len(s.answers.String()), len(s.child.out.String()))
}

func TestTheSearchFindsWhatIsThere(t *testing.T) {
	g := &garden{doors: map[string]string{}}
	secret, private := g.plant("a"), g.plantPEM("b")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("x" + secret))
	z.Close()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	data := append([]byte("before"), packed.Bytes()...)
	data = append(data, "between"...)
	data = enc.EncodeAll([]byte(private), data)
	data = append(data, "after"...)
	found := map[string]bool{}
	g.deep(data, func(_, door string) { found[door] = true })
	if !found["a"] || !found["b"] {
		t.Errorf("found %v, want a and b", found)
	}
}
