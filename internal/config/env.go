package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/strictyaml"
)

// envPrefix begins every variable that sets a key.
const envPrefix = "MUSTER_"

// EnvName is the environment variable that sets the key at path:
// guards.risk_deny is MUSTER_GUARDS_RISK_DENY. A key below a list has none; the
// whole list can be set, as YAML in one line.
func EnvName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// FromEnv sets what the environment says over c and returns the paths that it
// set. Text is taken as it is, a list of text may be written with commas,
// anything else as YAML. A variable that is empty sets nothing. The error wraps
// nhi.ErrInvalid and names the variable, never its value.
func (c *Config) FromEnv(getenv func(string) string) (set []string, err error) {
	for _, k := range Keys() {
		text := ""
		if k.Env != "" {
			text = getenv(k.Env)
		}
		if text == "" {
			continue
		}
		if err := assign(c.at(k.index), text); err != nil {
			return set, nhi.Invalidf("environment variable %s: want %s like %s", k.Env, k.Type, k.Example)
		}
		set = append(set, k.Path)
	}
	return set, nil
}

// Flags sets text by path, what is empty excepted, over everything else.
func (l *Loaded) Flags(flags map[string]string) {
	for _, k := range Keys() {
		if text := flags[k.Path]; text != "" && k.index != nil {
			l.Config.at(k.index).SetString(text)
			l.From[k.Path] = FromFlag
			delete(l.places, k.Path)
		}
	}
}

// at returns the field at index, making the pointers on the way.
func (c *Config) at(index []int) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func assign(v reflect.Value, text string) error {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(text)
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String && !strings.HasPrefix(text, "["):
		list := reflect.MakeSlice(v.Type(), 0, 1+strings.Count(text, ","))
		for word := range strings.SplitSeq(text, ",") {
			list = reflect.Append(list, reflect.ValueOf(strings.TrimSpace(word)).Convert(v.Type().Elem()))
		}
		v.Set(list)
		return nil
	}
	fresh := reflect.New(v.Type())
	if err := strictyaml.Decode("environment", []byte(text), fresh.Interface()); err != nil {
		return err
	}
	v.Set(fresh.Elem())
	return nil
}

// StrayEnv returns the variables of environ (as os.Environ has them) that look
// as if they should set a key and set none, each with the one that was probably
// meant. Others that begin alike, such as those that an orchestrator makes for
// a service named muster, are not told.
func StrayEnv(environ []string) map[string]string {
	var known []string
	for _, k := range Keys() {
		if k.Env != "" {
			known = append(known, k.Env)
		}
	}
	others := []string{"MUSTER_SERVER", "MUSTER_TOKEN", "MUSTER_TOKEN_FILE", "MUSTER_DATA", "MUSTER_CONFIG"}
	out := map[string]string{}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(name, envPrefix)
		if !ours || slices.Contains(known, name) || slices.Contains(others, name) {
			continue
		}
		// The common prefix must not make everything near.
		near := strictyaml.Nearest(strings.ToLower(rest), lowered(known))
		if near != "" {
			out[name] = envPrefix + strings.ToUpper(near)
		}
	}
	return out
}

func lowered(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, strings.ToLower(strings.TrimPrefix(n, envPrefix)))
	}
	return out
}
