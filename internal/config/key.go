package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/strictyaml"
)

//go:generate go run ./gen
//go:generate go run ./gen

// A Key is one setting, as `muster config explain`, the reference, the schema
// for editors and the environment know it. All of it comes from the struct: the
// words from its comments, the rest from its types, from [Default] and from
// these tags of a field:
//
//	unit:"bytes"           what a number counts; "file" for the name of a file
//	example:"0.0.0.0:443"  a value that somebody might write; the default else
//	enum:"low,high"        the only values
//	secret:"true"          the value is not printed
//	live:"false"           only a restart takes it up, though its section reloads
type Key struct {
	Path    string   `json:"key"`  // as in guards.risk_deny or notify[].url
	Type    string   `json:"type"` // see kinds
	Unit    string   `json:"unit,omitempty"`
	Default string   `json:"default"` // as it is written in YAML; empty when there is none
	Example string   `json:"example"` // as it is written in YAML
	Enum    []string `json:"enum,omitempty"`
	Live    bool     `json:"live"` // a reload takes it up; otherwise a restart does
	Env     string   `json:"env,omitempty"`
	Secret  bool     `json:"-"`
	Doc     string   `json:"doc"`

	kind  reflect.Type
	index []int // from Config; nil below a list
}

// Section says whether the key only groups others.
func (k *Key) Section() bool { return k.Type == typeSection || k.Type == typeList }

// The words for types.
const (
	typeText     = "text"
	typeWhole    = "whole number"
	typeNumber   = "number"
	typeSwitch   = "true or false"
	typeDuration = "duration"
	typeTexts    = "list of text"
	typeMap      = "map of text"
	typeSection  = "section"
	typeList     = "list of sections"
)

// live are the keys, with all below them, that a reload takes up. Everything
// else is read at the start.
var live = []string{"guards", "decisions", "promotion", "approvals", "owner_tags", "environments", "retention", "notify", "proxies", "signals", "svid"}

// Keys lists every key, sections before what is in them, in the order of the
// struct.
func Keys() []Key {
	def := Default()
	return keysOf(reflect.ValueOf(def), reflect.TypeOf(def), "", nil, true)
}

func keysOf(v reflect.Value, t reflect.Type, prefix string, index []int, single bool) []Key {
	var out []Key
	for _, f := range strictyaml.Fields(t) {
		path := strings.TrimPrefix(prefix+"."+f.Key, ".")
		k := Key{
			Path: path, Type: typeWord(f.Type), Unit: f.Tag.Get("unit"), Example: f.Tag.Get("example"),
			Secret: f.Tag.Get("secret") == "true", Doc: commentOf(f), Live: isLive(path) && f.Tag.Get("live") != "false", kind: f.Type,
		}
		if e := f.Tag.Get("enum"); e != "" {
			k.Enum = strings.Split(e, ",")
		}
		if k.Unit == "" && k.Type == typeDuration {
			k.Unit = "s, m or h"
		}
		var value reflect.Value
		if single {
			k.index = slices.Concat(index, f.Index)
			if v.IsValid() {
				value = fieldOf(v, f.Index)
			}
			if k.Type != typeSection {
				k.Env = EnvName(path)
			}
		}
		if value.IsValid() && !k.Section() && (!value.IsZero() || k.Type == typeSwitch || k.Type == typeWhole || k.Type == typeNumber) {
			k.Default = yamlOf(value)
		}
		if k.Example == "" && !k.Section() {
			k.Example = k.Default
		}
		out = append(out, k)
		switch bare := bareType(f.Type); {
		case k.Type == typeSection:
			out = append(out, keysOf(value, bare, path, k.index, single)...)
		case k.Type == typeList:
			out = append(out, keysOf(reflect.Value{}, bareType(bare.Elem()), path+"[]", nil, false)...)
		}
	}
	return out
}

// fieldOf follows pointers; a nil one has no value.
func fieldOf(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		for v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func bareType(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func typeWord(t reflect.Type) string {
	t = bareType(t)
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return typeDuration
	case t.Kind() == reflect.Bool:
		return typeSwitch
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return typeWhole
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return typeNumber
	case t.Kind() == reflect.Slice && bareType(t.Elem()).Kind() == reflect.Struct && len(strictyaml.Fields(t.Elem())) > 0:
		return typeList
	case t.Kind() == reflect.Slice:
		return typeTexts
	case t.Kind() == reflect.Map:
		return typeMap
	case t.Kind() == reflect.Struct && len(strictyaml.Fields(t)) > 0:
		return typeSection
	}
	return typeText
}

func isLive(path string) bool {
	return slices.ContainsFunc(live, func(l string) bool {
		rest, ok := strings.CutPrefix(path, l)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// commentOf is the comment of a field, with the key in place of its Go name.
func commentOf(f strictyaml.Field) string {
	doc := comments[f.Owner.PkgPath()+"."+f.Owner.Name()+"."+f.Name]
	if rest, ok := strings.CutPrefix(doc, f.Name+" "); ok {
		doc = "`" + f.Key + "` " + rest
	}
	return doc
}

// Find returns the key at path. Numbers in brackets do not matter. When there
// is none, the error names the nearest.
func Find(path string) (Key, error) {
	bare := unnumbered(path)
	keys := Keys()
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		if k.Path == bare || k.Env != "" && k.Env == path {
			return k, nil
		}
		names = append(names, k.Path)
	}
	// The last word alone finds its key when only one has it.
	var same []string
	for _, name := range names {
		if name[strings.LastIndexByte(name, '.')+1:] == bare {
			same = append(same, name)
		}
	}
	switch near := strictyaml.Nearest(bare, names); {
	case len(same) == 1:
		return Find(same[0])
	case len(same) > 1:
		return Key{}, fmt.Errorf("%.80q could be %s", path, strings.Join(same, " or "))
	case near != "":
		return Key{}, fmt.Errorf("there is no setting %.80q; did you mean %q?", path, near)
	}
	return Key{}, fmt.Errorf("there is no setting %.80q", path)
}

// unnumbered turns notify[0].url into notify[].url.
func unnumbered(path string) string {
	var b strings.Builder
	inside := false
	for _, c := range path {
		switch {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case inside:
			continue
		}
		b.WriteRune(c)
	}
	return b.String()
}
