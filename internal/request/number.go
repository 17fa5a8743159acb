package request

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Numbers that are seldom the same twice. Where policies do nothing with one but
// compare it with numbers that they name, a key holds only where it lies among
// those: two surprises that are both below every limit are the same to all.
//
// The time and the age of an attestation are such numbers too, in milliseconds
// and seconds. Used in another way they are in no key (see [Request.Fleeting]).
const (
	risk = iota
	surprise
	rate
	age
	now
	numbers
)

var numbered = map[types.String]int{"risk": risk, "surprise": surprise, "rate": rate, "age": age, "now": now}

// limits are what one of the numbers is compared with, sorted in a shape.
type limits struct {
	at    []int64
	exact bool // it is used in another way: every value counts
}

// place is where n lies among the limits: below one, on it, or above.
func (l *limits) place(n int64) int64 {
	if l.exact {
		return n
	}
	i, on := slices.BinarySearch(l.at, n)
	if on {
		return int64(2*i + 1)
	}
	return int64(2 * i)
}

func (l *limits) add(other *limits) {
	l.exact = l.exact || other.exact
	l.at = append(l.at, other.at...)
}

// compared returns which number a node compares with which literal.
func compared(n ast.IsNode) (number int, limit int64, ok bool) {
	var sides ast.BinaryNode
	switch n := n.(type) {
	case ast.NodeTypeLessThan:
		sides = n.BinaryNode
	case ast.NodeTypeLessThanOrEqual:
		sides = n.BinaryNode
	case ast.NodeTypeGreaterThan:
		sides = n.BinaryNode
	case ast.NodeTypeGreaterThanOrEqual:
		sides = n.BinaryNode
	case ast.NodeTypeEquals:
		sides = n.BinaryNode
	case ast.NodeTypeNotEquals:
		sides = n.BinaryNode
	default:
		return 0, 0, false
	}
	access, ok := sides.Left.(ast.NodeTypeAccess)
	other := sides.Right
	if !ok {
		access, ok = sides.Right.(ast.NodeTypeAccess)
		other = sides.Left
	}
	number, known := numbered[access.Value]
	if !ok || !known {
		return 0, 0, false
	}
	limit, ok = literal(other, number == now)
	return number, limit, ok
}

// literal returns the number that n names: a Long, or the milliseconds of a
// datetime.
func literal(n ast.IsNode, datetime bool) (int64, bool) {
	switch n := n.(type) {
	case ast.NodeValue:
		long, ok := n.Value.(types.Long)
		return int64(long), ok && !datetime
	case ast.NodeTypeExtensionCall:
		if n.Name != "datetime" || len(n.Args) != 1 || !datetime {
			return 0, false
		}
		value, _ := n.Args[0].(ast.NodeValue)
		text, ok := value.Value.(types.String)
		if !ok {
			return 0, false
		}
		at, err := types.ParseDatetime(string(text))
		return at.Milliseconds(), err == nil
	}
	return 0, false
}
