package config

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/muster-id/muster/internal/strictyaml"
)

// SchemaName is the file of the schema that is part of the documentation.
// `muster config print` names it in the first line, where editors look for it.
const SchemaName = "config.schema.json"

// durations is the pattern of what time.ParseDuration reads.
const durations = `^-?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`

// Comments returns what is compiled in about the fields, for the generator.
func Comments() map[string]string { return comments }

// Schema is the JSON Schema (draft 2020-12) of the configuration file, by which
// an editor completes and checks it.
func Schema() ([]byte, error) {
	keys := map[string]Key{}
	for _, k := range Keys() {
		keys[k.Path] = k
	}
	s := schemaOf(reflect.TypeFor[Config](), "", keys)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Muster configuration"
	out, err := json.MarshalIndent(s, "", "  ")
	return append(out, '\n'), err
}

func schemaOf(t reflect.Type, path string, keys map[string]Key) map[string]any {
	t = bareType(t)
	switch typeWord(t) {
	case typeSwitch:
		return map[string]any{"type": "boolean"}
	case typeWhole:
		return map[string]any{"type": "integer"}
	case typeNumber:
		return map[string]any{"type": "number"}
	case typeDuration:
		return map[string]any{"type": "string", "pattern": durations}
	case typeMap:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), path, keys)}
	case typeTexts:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), path, keys)}
	case typeList:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), path+"[]", keys)}
	case typeSection:
		properties := map[string]any{}
		for _, f := range strictyaml.Fields(t) {
			inner := strings.TrimPrefix(path+"."+f.Key, ".")
			properties[f.Key] = described(schemaOf(f.Type, inner, keys), keys[inner])
		}
		return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	}
	return map[string]any{"type": "string"}
}

func described(s map[string]any, k Key) map[string]any {
	s["description"] = k.Doc
	if len(k.Enum) > 0 {
		s["enum"] = k.Enum
	}
	if v, ok := jsonOf(k.Default); ok {
		s["default"] = v
	}
	if v, ok := jsonOf(k.Example); ok && k.Example != k.Default {
		s["examples"] = []any{v}
	}
	return s
}

// jsonOf is YAML on one line as JSON has it.
func jsonOf(text string) (v any, ok bool) {
	if text == "" {
		return nil, false
	}
	return v, yaml.Unmarshal([]byte(text), &v) == nil
}
