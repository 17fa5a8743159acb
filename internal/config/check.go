package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/strictyaml"
)

// A Problem is one mistake in a configuration. Line and Column count from 1 and
// are 0 when the file does not say.
type Problem struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	What   string `json:"problem"`
}

// Where is "FILE:LINE:COLUMN", as far as it is known.
func (p Problem) Where() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	case p.File != "":
		return p.File
	}
	return "environment"
}

// Problems returns every mistake in the file at path under the environment
// environ (as os.Environ has it), as far as one mistake does not hide others:
// all keys that do not exist, the first value that cannot be read, the first
// that does not fit, files that are named and cannot be used, and variables
// that were probably meant to set something. The error says why the file could
// not be read.
func Problems(path string, environ []string, now time.Time) ([]Problem, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	out := misspelt(path, data, environ)
	l, err := Read(path, lookup(environ))
	switch wrong, ok := err.(*strictyaml.Error); {
	case ok && !slices.ContainsFunc(out, func(p Problem) bool { return p.Line == wrong.Line && p.Column == wrong.Column }):
		out = append(out, Problem{File: path, Line: wrong.Line, Column: wrong.Column, What: wrong.Reason})
	case err != nil && !ok:
		out = append(out, Problem{What: tidy(err)})
	}
	if err != nil {
		return out, nil
	}
	if err := l.Config.Check(); err != nil {
		key := l.culprit(err.Error())
		out = append(out, l.problem(key, tidy(err)))
	}
	for _, f := range l.Config.files(now) {
		out = append(out, l.problem(f.key, f.what))
	}
	return out, nil
}

func misspelt(path string, data []byte, environ []string) []Problem {
	var out []Problem
	for _, u := range strictyaml.Unknown(path, data, &Config{}) {
		out = append(out, Problem{File: path, Line: u.Line, Column: u.Column, What: u.Reason})
	}
	stray := StrayEnv(environ)
	names := make([]string, 0, len(stray))
	for name := range stray {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, Problem{What: fmt.Sprintf("variable %.80s sets nothing; did you mean %s?", name, stray[name])})
	}
	return out
}

func lookup(environ []string) func(string) string {
	return func(name string) string {
		for _, pair := range environ {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func tidy(err error) string {
	text := err.Error()
	for _, kind := range []string{" (invalid)", ": invalid"} {
		text = strings.TrimSuffix(text, kind)
	}
	return text
}

// problem places a mistake where the file sets the key.
func (l *Loaded) problem(key, what string) Problem {
	p := Problem{File: l.file, Key: key, What: what}
	if at, ok := l.places[key]; ok {
		p.Line, p.Column = at.Line, at.Column
	}
	return p
}

type fileProblem struct{ key, what string }

// files looks at every file that the configuration names.
func (c *Config) files(now time.Time) []fileProblem {
	var out []fileProblem
	for key, file := range c.namedFiles() {
		switch info, err := os.Stat(file); {
		case errors.Is(err, fs.ErrNotExist):
			out = append(out, fileProblem{key, "there is no file " + file})
		case err != nil:
			out = append(out, fileProblem{key, fmt.Sprintf("%s: %v", file, err)})
		case info.IsDir():
			out = append(out, fileProblem{key, file + " is a folder"})
		case secretFile(key) && info.Mode().Perm()&0o077 != 0:
			out = append(out, fileProblem{key, fmt.Sprintf("%s can be read by others (mode %04o); chmod 600 it, and consider the secret in it known", file, info.Mode().Perm())})
		}
	}
	slices.SortFunc(out, func(a, b fileProblem) int { return strings.Compare(a.key, b.key) })
	if len(out) == 0 && c.TLS.Cert != "" {
		if what := CertificateProblem(c.TLS.Cert, c.TLS.Key, now); what != "" {
			out = append(out, fileProblem{"tls.cert", what})
		}
	}
	return out
}

// secretFile says whether the file that a key names holds something that only
// the server may read.
func secretFile(key string) bool {
	word := key[strings.LastIndexByte(key, '.')+1:]
	return strings.Contains(word, "secret") || strings.Contains(word, "password") || strings.Contains(word, "passphrase") || strings.Contains(word, "credential") || word == "key" || word == "url_file"
}

// namedFiles maps keys to the files that they name, by the unit "file".
func (c *Config) namedFiles() map[string]string {
	out := map[string]string{}
	eachFile(reflect.ValueOf(c).Elem(), "", func(key string, v reflect.Value) { out[key] = v.String() })
	return out
}

// eachFile visits every key of unit "file" below v that is set.
func eachFile(v reflect.Value, path string, visit func(key string, v reflect.Value)) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			eachFile(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case reflect.Struct:
		for _, f := range strictyaml.Fields(v.Type()) {
			inner := strings.TrimPrefix(path+"."+f.Key, ".")
			value := fieldOf(v, f.Index)
			switch {
			case !value.IsValid():
			case f.Tag.Get("unit") == "file" && value.Kind() == reflect.String:
				if value.Len() > 0 {
					visit(inner, value)
				}
			default:
				eachFile(value, inner, visit)
			}
		}
	}
}

// CertificateProblem says what is wrong with a certificate and its key at now,
// or "": they do not belong together, it is not valid yet, it expired.
func CertificateProblem(certFile, keyFile string, now time.Time) string {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return fmt.Sprintf("%s and %s cannot be used: %v", certFile, keyFile, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	switch {
	case err != nil:
		return fmt.Sprintf("%s: %v", certFile, err)
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate in %s is not valid before %s; is the clock right?", certFile, leaf.NotBefore.UTC().Format(time.RFC3339))
	case !now.Before(leaf.NotAfter):
		return fmt.Sprintf("the certificate in %s expired on %s; put a new one in its place", certFile, leaf.NotAfter.UTC().Format(time.DateOnly))
	case leaf.NotAfter.Sub(now) < 7*24*time.Hour:
		return fmt.Sprintf("the certificate in %s expires on %s; renew it now", certFile, leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return ""
}
