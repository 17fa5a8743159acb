// Package useragent reduces a raw User-Agent to the family of the software
// that sent it.
//
// The raw text is useless for telling what is normal: it carries versions,
// kernels, locales and random ids that change with every build. The family
// ("boto3", "terraform", "Mozilla") stays for years, and a change of family is
// worth a look. The text is written by the caller and proves nothing; it is
// hostile, so a family is short, has a small alphabet, and is safe to print.
package useragent

import (
	"bytes"
	"strings"
)

// Bounds of what is read and of what is returned, in bytes.
const (
	maxRead   = 1024
	MaxFamily = 48
)

// Other is the family of an agent whose text names nothing.
const Other = "other"

// Families that have more than one spelling, or stand for more than a name.
const (
	Browser    = "Mozilla"        // any browser
	S3Console  = "S3Console"      // the S3 part of the AWS console
	AWSConsole = "aws-console"    // the rest of it, sign-in included
	CloudShell = "aws-cloudshell" // a shell in the AWS console
	Internal   = "aws-internal"   // AWS itself, or its console on behalf of somebody
)

// marks are words that decide the family wherever they stand: tools that wrap
// an SDK and name themselves behind it. The first that fits wins.
var marks = []struct {
	word   []byte // lower case
	family string
}{
	{[]byte("s3console"), S3Console},
	{[]byte("exec-env/cloudshell"), CloudShell},
	{[]byte("aws-internal"), Internal},
	{[]byte("aws internal"), Internal},
	{[]byte("trufflehog"), "trufflehog"},
	{[]byte("opentofu"), "opentofu"},
	{[]byte("terraform"), "terraform"},
	{[]byte("pulumi"), "pulumi"},
	{[]byte("crossplane"), "crossplane"},
	{[]byte("ansible"), "ansible"},
}

// names are first products that go by another family, or whose family is
// spelt differently or is common enough to be worth no allocation.
var names = map[string]string{
	"mozilla": Browser, "opera": Browser, "signin.amazonaws.com": AWSConsole, "console.amazonaws.com": AWSConsole,
	"aws-cli": "aws-cli", "boto3": "boto3", "botocore": "botocore", "aws-sdk-go": "aws-sdk-go", "aws-sdk-go-v2": "aws-sdk-go-v2",
	"aws-sdk-java": "aws-sdk-java", "aws-sdk-js": "aws-sdk-js", "kubectl": "kubectl", "curl": "curl", "python-requests": "python-requests",
	"go-http-client": "go-http-client", "postmanruntime": "postman", "python-urllib": "python-urllib", "wget": "wget", "okhttp": "okhttp",
}

// Family returns the family of a raw User-Agent: a name without any version,
// at most MaxFamily bytes of letters, digits, "-", "_" and ".", "" for an
// empty text and Other for one that names nothing. A text longer than 1 KB is
// judged by its beginning. Names of AWS services that act by themselves
// ("lambda.amazonaws.com") are families of their own.
func Family(ua string) string {
	if len(ua) > maxRead {
		ua = ua[:maxRead]
	}
	var buf [maxRead]byte
	text := buf[:0]
	for i := range len(ua) {
		c := ua[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		text = append(text, c)
	}
	text = bytes.Trim(text, " \t\r\n[]\"")
	if len(text) == 0 {
		return ""
	}
	if family := marked(text); family != "" {
		return family
	}
	name, versioned := product(text)
	if known, ok := names[string(name)]; ok {
		return known
	}
	if bytes.HasSuffix(name, []byte(".amazonaws.com")) {
		if bytes.HasPrefix(name, []byte("console.")) || bytes.HasPrefix(name, []byte("signin.")) {
			return AWSConsole
		}
		return clean(name)
	}
	if !versioned {
		name = cutVersion(name)
	}
	return clean(cutRandom(name))
}

// marked returns the family of the first of marks that stands in the text at
// the start of a word, "" if none does.
func marked(text []byte) string {
	best, inside := len(marks), false
	for i, c := range text {
		start := !inside
		inside = c >= 'a' && c <= 'z' || digit(c)
		if !start || !inside {
			continue
		}
		for j := range best {
			if word := marks[j].word; word[0] == c && bytes.HasPrefix(text[i:], word) {
				best = j
				break
			}
		}
	}
	if best == len(marks) {
		return ""
	}
	return marks[best].family
}

// product returns the name that the text begins with, and whether a version
// follows it. A name may have a few words, if a version ends them: "Kubernetes
// Java Client/18.0".
func product(text []byte) (name []byte, versioned bool) {
	end := bytes.IndexFunc(text, func(c rune) bool {
		return c == '/' || c == '(' || c == ';' || c == ',' || c == ':' || c == '#'
	})
	if end < 0 {
		end = len(text)
	}
	name = text[:end]
	versioned = end < len(text) && text[end] == '/'
	spaces := bytes.Count(name, []byte(" "))
	if space := bytes.IndexByte(name, ' '); space > 0 && (spaces > 3 || bytes.ContainsAny(name, "0123456789.")) {
		return name[:space], false
	}
	return bytes.TrimSpace(name), versioned
}

// cutVersion cuts a name before what looks like a version: "tool-1.2.3",
// "tool_v2.0".
func cutVersion(name []byte) []byte {
	for i := 1; i+1 < len(name); i++ {
		if !bytes.ContainsRune([]byte("-_ ."), rune(name[i])) {
			continue
		}
		rest := bytes.TrimPrefix(name[i+1:], []byte("v"))
		if len(rest) > 0 && digit(rest[0]) && bytes.IndexByte(rest, '.') > 0 {
			return name[:i]
		}
	}
	return name
}

// cutRandom cuts a name before a run of characters that no name has: eight
// hexadecimal digits with a figure among them, or five figures. They are ids
// of a process or a build, and would make every start a new family.
func cutRandom(name []byte) []byte {
	hex, figures, run, any := 0, 0, 0, false
	for i, c := range name {
		if digit(c) {
			figures++
		} else {
			figures = 0
		}
		if digit(c) || c >= 'a' && c <= 'f' {
			if hex++; hex == 1 {
				run, any = i, false
			}
			any = any || digit(c)
		} else {
			hex = 0
		}
		if hex >= 8 && any {
			return name[:run]
		}
		if figures >= 5 {
			return name[:i-4]
		}
	}
	return name
}

// clean keeps the small alphabet and bounds the length. What is left of a
// name without a single letter is Other.
func clean(name []byte) string {
	var out strings.Builder
	letters := false
	for _, c := range name {
		if out.Len() == MaxFamily {
			break
		}
		switch {
		case c >= 'a' && c <= 'z':
			letters = true
			out.WriteByte(c)
		case digit(c), c == '-', c == '_', c == '.':
			out.WriteByte(c)
		case c == ' ':
			out.WriteByte('-')
		}
	}
	family := strings.Trim(out.String(), "-_.")
	if !letters {
		return Other
	}
	return family
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// people are the tools that a person sits in front of. Scripts use some of
// them too, so this is a hint and never a proof.
var people = map[string]bool{
	Browser: true, S3Console: true, AWSConsole: true, CloudShell: true,
	"aws-cli": true, "kubectl": true, "k9s": true, "helm": true, "curl": true, "wget": true, "httpie": true, "postman": true, "insomnia": true,
	"gcloud": true, "google-cloud-sdk": true, "azure-cli": true, "az": true, "gh": true, "github-cli": true, "okta-cli": true,
	"psql": true, "mysql": true, "mongosh": true, "burp": true, "powershell": true, "windowspowershell": true, "aws-tools-for-powershell": true,
	"cyberduck": true, "s3-browser": true, "s3browser": true,
}

// Human reports whether a family is that of a browser, a console or an
// interactive tool: what a person uses, and a workload seldom.
func Human(family string) bool { return people[family] }
