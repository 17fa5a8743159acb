package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// contexts are the places where secrets leak. %s is the secret, after esc.
var contexts = []struct {
	name string
	form string
	esc  func(string) string
}{
	{"env file", "# settings\nTOKEN=%s\nDEBUG=1\n", nil},
	{"CRLF", "[section]\r\nkey = %s\r\nother = 1\r\n", nil},
	{"YAML", "service:\n  token: %s\n  port: 80\n", indent},
	{"YAML block", "service:\n  token: |\n    %s\n  port: 80\n", indent},
	{"JSON", `{"name":"x","token":%s,"n":1}`, quoteJSON},
	{"JSON in JSON", `{"line":%s}`, func(s string) string { return quoteJSON(`{"token":` + quoteJSON(s) + `}`) }},
	{"Go", "const token = %s // keep\n", func(s string) string { return fmt.Sprintf("%q", s) }},
	{"Go, line by line", "var key = %s\n", func(s string) string {
		return `"` + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\\n\" +\n\t\"") + `"`
	}},
	{"Python", "token = '''%s'''\nprint(token)\n", nil},
	{"shell", "curl -H 'X-Key: %s' https://example.com/ && exit\n", nil},
	{"XML", "<config><token>%s</token></config>", nil},
	{"XML attribute", `<config token="%s"/>`, func(s string) string { return strings.ReplaceAll(s, "\n", "&#xA;") }},
	{"Terraform", "provider \"x\" {\n  token = <<EOT\n%s\nEOT\n}\n", nil},
	{"Markdown", "Use this:\n\n```\n%s\n```\n\nand `go`.\n", nil},
	{"Markdown quotation", "> %s\n> said he\n", func(s string) string { return strings.ReplaceAll(s, "\n", "\n> ") }},
	{"comment", "// %s\nfunc main() {}\n", func(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n// ") }},
	{"log", `time=2026-01-02T03:04:05Z level=ERROR msg="auth failed" token=%s code=401` + "\n", func(s string) string { return fmt.Sprintf("%q", s) }},
	{"patch", "diff --git a/x b/x\n@@ -0,0 +1,9 @@\n+first\n+%s\n", func(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n+") }},
	{"query string", "GET /login?user=x&token=%s&next=1 HTTP/1.1\n", url.QueryEscape},
	{"path escape", "https://example.com/%s/rest", url.PathEscape},
	{"minified", "!function(){var a=1;b=\"%s\";c()}();", func(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }},
	{"unicode around", "schlüssel→%s←é世界\n", nil},
	{"invalid UTF-8 around", "\xff\xfe\xfd\xff%s\xff\xff", nil},
	{"nothing around", "%s", nil},
}

func indent(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") }

func quoteJSON(s string) string {
	out, err := json.Marshal(s)
	check(err)
	return string(out)
}

func TestSecretsAreFoundWhereverTheyLeak(t *testing.T) {
	s := newTestScanner(t)
	for _, c := range contexts {
		t.Run(c.name, func(t *testing.T) {
			for range 3 {
				for _, p := range plants() {
					text := p.text
					if c.esc != nil {
						text = c.esc(text)
					}
					expect(t, s, []byte(fmt.Sprintf(c.form, text)), p)
				}
			}
		})
	}
}

// expect fails unless data holds p and nothing else.
func expect(t *testing.T, s *Scanner, data []byte, p planted) {
	t.Helper()
	got := scanAll(s, data)
	if len(got) != 1 || got[0].Rule != p.rule {
		t.Fatalf("found %v, want %s once, in\n%s", got, p.rule, data)
	}
	m := got[0]
	if p.secret != nil && !bytes.Equal(m.Secret(), p.secret) || p.id != "" && m.PublicID != p.id {
		t.Fatalf("%s: value or id is not what was planted, in\n%s", p.rule, data)
	}
	if strings.HasPrefix(p.rule, "private") && m.Confidence != High {
		t.Fatalf("%s: confidence %s in\n%s", p.rule, m.Confidence, data)
	}
	if m.Start < 0 || m.Start >= m.End || m.End > len(data) {
		t.Fatalf("%s: offsets %d to %d of %d", p.rule, m.Start, m.End, len(data))
	}
}

func mime76(s string) string {
	var out strings.Builder
	for e := base64.StdEncoding.EncodeToString([]byte(s)); e != ""; {
		n := min(76, len(e))
		out.WriteString(e[:n] + "\n")
		e = e[n:]
	}
	return out.String()
}

func TestEncodedSecretsAreFoundUpToTwoLayersDeep(t *testing.T) {
	s := newTestScanner(t)
	std := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	raw := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	hexed := func(s string) string { return hex.EncodeToString([]byte(s)) }
	for name, encode := range map[string]func(string) string{
		"base64":             std,
		"base64url":          raw,
		"hexadecimal":        hexed,
		"upper hexadecimal":  func(s string) string { return strings.ToUpper(hexed(s)) },
		"every byte percent": func(s string) string { return string(percentForm([]byte(s))) },
		"base64 twice":       func(s string) string { return std(raw(s)) },
		"hex in base64":      func(s string) string { return std(hexed(s)) },
		"base64 in hex":      func(s string) string { return hexed(std(s)) },
		"base64 in a query":  func(s string) string { return url.QueryEscape(std(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			for shift := range 12 { // every alignment
				for _, p := range plants() {
					text := encode(strings.Repeat("{", shift) + " " + p.text + " }")
					expect(t, s, []byte("data: "+text+"\n"), p)
				}
			}
		})
	}
}

func TestWrappedBase64IsOneRun(t *testing.T) {
	s := newTestScanner(t)
	for _, name := range []string{"rsa", "ec", "pkcs8", "openssh"} {
		p := planted{rule: "private-key", text: keys()[name]}
		for _, data := range []string{
			mime76(p.text),
			"key: |\n  " + strings.ReplaceAll(mime76(p.text), "\n", "\r\n  "),
			`{"key":"` + strings.ReplaceAll(mime76(p.text), "\n", `\n`) + `"}`,
		} {
			expect(t, s, []byte(data), p)
		}
	}
}

func TestNoSecretIsLostInALongWrappedRun(t *testing.T) {
	s := newTestScanner(t)
	for _, columns := range []int{64, 76} {
		var text strings.Builder
		want := map[string]bool{}
		for text.Len() < 200<<10 {
			token := newGitHub("ghp")
			want[token] = true
			text.WriteString("some more text: " + token + draw(1+text.Len()%97, " ,.") + "\n")
		}
		var data strings.Builder
		for e := base64.StdEncoding.EncodeToString([]byte(text.String())); e != ""; {
			n := min(columns, len(e))
			data.WriteString(e[:n] + "\n")
			e = e[n:]
		}
		for _, m := range scanAll(s, []byte(data.String())) {
			if !want[string(m.Secret())] {
				t.Errorf("%d columns: found something twice, or nothing planted", columns)
			}
			delete(want, string(m.Secret()))
		}
		if len(want) > 0 {
			t.Errorf("%d columns: %d secrets were not found", columns, len(want))
		}
	}
}

func TestAnEncodedSecretIsPlacedWhereItsEncodingStands(t *testing.T) {
	s := newTestScanner(t)
	secret := newGitHub("ghp")
	line := "  auth: " + base64.StdEncoding.EncodeToString([]byte("user:"+secret)) + "\n"
	got := scanAll(s, []byte("first\n"+line+"last"))
	if len(got) != 1 {
		t.Fatalf("found %v", got)
	}
	m := got[0]
	// The secret begins in byte 5, in the 6th base64 character (from 0).
	if m.Line != 2 || m.Column != len("  auth: ")+1+6 || m.EndColumn != len(line) {
		t.Errorf("placed at %d:%d to %d:%d, line is %d long", m.Line, m.Column, m.EndLine, m.EndColumn, len(line))
	}
}

func TestUTF16IsReadInBothByteOrders(t *testing.T) {
	s := newTestScanner(t)
	for name, order := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		for _, p := range plants() {
			data := order.AppendUint16(nil, 0xfeff)
			text := "zeile ü 🙂\r\nkey: "
			for _, u := range utf16.Encode([]rune(text + p.text + "\r\n")) {
				data = order.AppendUint16(data, u)
			}
			expect(t, s, data, p)
			m := scanAll(s, data)[0]
			if m.Line != 2 {
				t.Errorf("%s endian %s: line %d", name, p.rule, m.Line)
			}
			before := string(utf16.Decode(units(data[2:m.Start], order)))
			if !strings.HasPrefix(before, text) || m.Start%2 != 0 {
				t.Errorf("%s endian %s: Start %d is not where it stands", name, p.rule, m.Start)
			}
		}
	}
}

func units(data []byte, order binary.AppendByteOrder) []uint16 {
	var out []uint16
	for i := 0; i+1 < len(data); i += 2 {
		out = append(out, order.(binary.ByteOrder).Uint16(data[i:]))
	}
	return out
}

func TestPairsOfAWSKeysStayTogether(t *testing.T) {
	s := newTestScanner(t)
	type pair struct{ ID, Secret string }
	pairs := []pair{}
	for range 4 {
		pairs = append(pairs, pair{newAWSID("AKIA"), newAWSSecret()})
	}
	join := func(form, sep string) string {
		var parts []string
		for _, p := range pairs {
			r := strings.NewReplacer("ID", p.ID, "SECRET", p.Secret)
			parts = append(parts, r.Replace(form))
		}
		return strings.Join(parts, sep)
	}
	for name, text := range map[string]string{
		"credentials file": join("[p]\naws_access_key_id = ID\naws_secret_access_key = SECRET", "\n\n"),
		"CSV":              "user,id,key\n" + join("u,ID,SECRET", "\n"),
		"JSON":             "[" + join(`{"a":"ID","s":"SECRET"}`, ",") + "]",
		"reversed JSON":    "[" + join(`{"s":"SECRET","a":"ID"}`, ",\n") + "]",
		"one line each":    join("ID SECRET", "\n"),
		"no line breaks":   join("ID:SECRET", " "),
	} {
		t.Run(name, func(t *testing.T) {
			var got []pair
			for _, m := range scanAll(s, []byte(text)) {
				got = append(got, pair{m.PublicID, string(m.Secret())})
			}
			if diff := cmp.Diff(pairs, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestEscapesInAnAWSSecretAreUndone(t *testing.T) {
	s := newTestScanner(t)
	id, secret := newAWSID("AKIA"), ""
	for !strings.Contains(secret, "+") || !strings.Contains(secret, "/") {
		secret = newAWSSecret()
	}
	for name, text := range map[string]string{
		"query":          "id=" + id + "&secret=" + url.QueryEscape(secret),
		"PHP's JSON":     `{"id":"` + id + `","secret":"` + strings.ReplaceAll(secret, "/", `\/`) + `"}`,
		".NET's JSON":    `{"id":"` + id + `","secret":"` + strings.ReplaceAll(secret, "+", `\u002B`) + `"}`,
		"escaped quotes": `"{\u0022id\u0022:\u0022` + id + `\u0022,\u0022secret\u0022:\u0022` + secret + `\u0022}"`,
		"escaped breaks": `"\n` + id + `\n` + secret + `\n"`,
	} {
		got := scanAll(s, []byte(text))
		if len(got) != 1 || string(got[0].Secret()) != secret || got[0].PublicID != id {
			t.Errorf("%s: found %v in %s", name, got, text)
		}
	}
}

func TestTheAccountOfAnAWSKeyIsInItsID(t *testing.T) {
	for id, want := range map[string]string{
		"ASIAY34FZKBOK" + "MUTVV7A": "609629065308",
		"AKIAIOSFODNN7EXAMPLE":      "", // older than the scheme
	} {
		if got := awsAccount(id); got != want {
			t.Errorf("account of %s = %q, want %q", id, got, want)
		}
	}
}

func TestTheChecksumOfGitHubTokensIsThePublishedOne(t *testing.T) {
	// The example of GitHub's own description of the format.
	if got := base62CRC([]byte("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ")); string(got[:]) != "0mLq17" {
		t.Errorf("checksum = %s", got[:])
	}
}

// A scanner that cries wolf is switched off.
func TestWhatOnlyLooksLikeASecretIsNotReported(t *testing.T) {
	s := newTestScanner(t)
	github := []byte(newGitHub("ghp"))
	github[10] ^= 1
	muster := []byte(newMuster("key"))
	muster[len(muster)-1] ^= 1
	for name, text := range map[string]string{
		"a GitHub token with a typing error": string(github),
		"a Muster key with a typing error":   string(muster),
		"an id inside a longer word":         "X" + newAWSID("AKIA") + "Y",
		"a drawing of a key":                 "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
		"a key's frame in source":            `if strings.Contains(s, "-----BEGIN RSA PRIVATE KEY-----") && strings.Contains(s, "-----END RSA PRIVATE KEY-----") {`,
		"a public key":                       keys()["public"],
		"a certificate":                      keys()["certificate"],
		"time zones":                         "Asia/Tokyo Asia/Seoul ASIA AKIA akiahara",
		"a hash behind the name of a secret": "aws_secret_access_key_sha1: " + strings.Repeat("0a1b2c3d", 5),
		"a path behind the name of a secret": "aws_secret_access_key_file=/var/lib/Example1/secrets/aws-credential",
	} {
		if got := scanAll(s, []byte(text)); len(got) != 0 {
			t.Errorf("%s: found %v", name, got)
		}
	}
}

func TestExamplesFromManualsAreLabelledAndNotHidden(t *testing.T) {
	s := newTestScanner(t)
	got := scanAll(s, []byte("AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
	if len(got) != 1 || got[0].Confidence != Low || got[0].Note != noteExample {
		t.Errorf("found %+v", got)
	}
}

func TestASecretWithoutADigitIsStillASecret(t *testing.T) {
	for value, want := range map[string]bool{
		"wexYtkbUAagdUlpxyjhTyRWLaxDFUOLmbuDpZD+B": true,  // drawn; one in 900 has no digit
		"AbstractSingletonProxyFactoryBeanProvide": false, // a name
		"getElementsByTagNameFromDocumentFragment": false,
	} {
		if got := randomSecret([]byte(value)); got != want {
			t.Errorf("randomSecret(%s) = %v, want %v", value, got, want)
		}
	}
}
