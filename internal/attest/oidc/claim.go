package oidc

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// parseClaims decodes claims with their numbers as written and their names
// exactly as they are.
func parseClaims(raw []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var claims map[string]any
	err := dec.Decode(&claims)
	return claims, err
}

// matches reports whether all claims of a rule are met.
func (r *Rule) matches(claims map[string]any) bool {
	for path, allowed := range r.Claims {
		value, ok := lookup(claims, path)
		if !ok || !r.met(path, value, allowed) {
			return false
		}
	}
	return len(r.Claims) > 0
}

// met compares one claim exactly. A claim that is a list meets a rule when one
// of its elements does.
func (r *Rule) met(path string, value any, allowed Values) bool {
	if elements, isList := value.([]any); isList {
		return slices.ContainsFunc(elements, func(e any) bool {
			s, ok := plain(e)
			return ok && slices.Contains(allowed, s)
		})
	}
	s, ok := plain(value)
	if !ok {
		return false
	}
	if slices.Contains(allowed, s) {
		return true
	}
	// In 2026 GitHub put the ids into the subject of new repositories:
	// repo:org@123/name@456:ref:…. A rule that pins the id itself may keep
	// writing the subject without them.
	return path == "sub" && r.Claims["repository_id"] != nil && slices.Contains(allowed, withoutIDs(s))
}

// withoutIDs removes "@<digits>" from owner and repository of a GitHub subject.
// Neither name can hold an "@" itself.
func withoutIDs(sub string) string {
	rest, ok := strings.CutPrefix(sub, "repo:")
	if !ok {
		return sub
	}
	full, context, _ := strings.Cut(rest, ":")
	owner, name, ok := strings.Cut(full, "/")
	if !ok {
		return sub
	}
	out := "repo:" + withoutID(owner) + "/" + withoutID(name)
	if context != "" {
		out += ":" + context
	}
	return out
}

func withoutID(s string) string {
	name, id, ok := strings.Cut(s, "@")
	if !ok || id == "" || strings.Trim(id, "0123456789") != "" {
		return s
	}
	return name
}

// plain renders a scalar as a rule writes it.
func plain(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

// lookup finds the claim with a dotted path. Names may hold dots themselves,
// as in "kubernetes.io", so every way to cut the path is tried; a token in
// which two of them lead somewhere is ambiguous and has no such claim.
func lookup(object map[string]any, path string) (any, bool) {
	var found []any
	collect(object, path, &found)
	if len(found) != 1 {
		return nil, false
	}
	return found[0], true
}

func collect(object map[string]any, path string, found *[]any) {
	if value, ok := object[path]; ok {
		*found = append(*found, value)
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if inner, ok := object[path[:i]].(map[string]any); ok {
			collect(inner, path[i+1:], found)
		}
	}
}
