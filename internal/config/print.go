package config

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Where a value comes from; a file is named "FILE:LINE".
const (
	FromDefault     = "default"
	FromEnvironment = "environment"
	FromFlag        = "flag"
)

// A Setting is a key with the value that a server would use.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"` // as it is written in YAML; a secret is masked
	From  string `json:"from"`
	Live  bool   `json:"live"` // a reload takes up a change of it

	path  []string
	plain any
}

// Settings lists c's values, a list as one. from says where each comes from, by
// path; what it does not name is a default.
func (c *Config) Settings(from map[string]string) []Setting {
	var out []Setting
	for _, k := range Keys() {
		if k.index == nil || k.Type == typeSection {
			continue
		}
		v := c.value(k.index)
		s := Setting{Key: k.Path, From: origin(from, k.Path), Live: k.Live, path: strings.Split(k.Path, ".")}
		if v.IsValid() {
			s.plain = masked(k, v)
			s.Value = yamlText(s.plain)
		}
		out = append(out, s)
	}
	return out
}

// origin is where a value comes from: a list comes from where its first entry
// does.
func origin(from map[string]string, path string) string {
	if f, ok := from[path]; ok {
		return f
	}
	return FromDefault
}

// value is the field at index, invalid below a nil pointer.
func (c *Config) value(index []int) reflect.Value {
	return fieldOf(reflect.ValueOf(c).Elem(), index)
}

const mask = "(hidden)"

// masked is the value without what must not be shown: keys that are marked, and
// passwords in URLs, also inside of lists.
func masked(k Key, v reflect.Value) any {
	if k.Secret && !v.IsZero() {
		return mask
	}
	return hide(v).Interface()
}

func hide(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.String:
		out.SetString(hideURL(v.String()))
	case reflect.Slice:
		if v.IsNil() {
			return out
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(hide(v.Index(i)))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case !f.IsExported():
			case f.Tag.Get("secret") == "true" && v.Field(i).Kind() == reflect.String && v.Field(i).Len() > 0:
				out.Field(i).SetString(mask)
			default:
				out.Field(i).Set(hide(v.Field(i)))
			}
		}
	}
	return out
}

func hideURL(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return mask // nobody knows what is in it
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "hidden")
	}
	return u.String()
}

// YAML writes settings as a file that [Load] reads, each with a comment that
// says where it comes from.
func YAML(settings []Setting) []byte {
	var b strings.Builder
	var open []string
	for _, s := range settings {
		if s.plain == nil {
			continue
		}
		groups := s.path[:len(s.path)-1]
		same := 0
		for same < len(groups) && same < len(open) && groups[same] == open[same] {
			same++
		}
		for i := same; i < len(groups); i++ {
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), groups[i])
		}
		open = groups
		fmt.Fprintf(&b, "%s%s: %s # %s\n", strings.Repeat("  ", len(groups)), s.path[len(s.path)-1], s.Value, s.From)
	}
	return []byte(b.String())
}

// yamlOf is a value on one line of YAML.
func yamlOf(v reflect.Value) string { return yamlText(v.Interface()) }

func yamlText(v any) string {
	short := yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(shortDuration(d)), nil })
	b, err := yaml.MarshalWithOptions(v, yaml.Flow(true), yaml.OmitZero(), short)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// shortDuration is 720h instead of 720h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
