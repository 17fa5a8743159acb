package config

import (
	"maps"
	"reflect"
	"slices"
)

// Merge returns c with what a reload takes up from next, and the keys that
// differ and wait for a restart. Neither is changed.
func (c *Config) Merge(next *Config) (merged *Config, restart []string) {
	out := *c
	for _, k := range Keys() {
		if k.index == nil || k.Type == typeSection {
			continue
		}
		was, is := c.value(k.index), next.value(k.index)
		if equal(was, is) {
			continue
		}
		if !k.Live {
			restart = append(restart, k.Path)
			continue
		}
		if is.IsValid() {
			out.own(k.index).Set(is)
		}
	}
	return &out, restart
}

// own is at, with every pointer on the way made a copy first: c shares them
// with the configuration that it was copied from.
func (c *Config) own(index []int) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			fresh := reflect.New(v.Type().Elem())
			if !v.IsNil() {
				fresh.Elem().Set(v.Elem())
			}
			v.Set(fresh)
			v = fresh.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func equal(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// Files lists the files that the configuration names.
func (c *Config) Files() []string { return slices.Sorted(maps.Values(c.namedFiles())) }
