// Package scale holds long runs; they are built with the tag scale only.
package scale
