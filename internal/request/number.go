package request

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Numbers that are seldom the same twice. Where policies do nothing with one but
// compare it with numbers that they name, a key holds only where it lies among
// those: two surprises that are both below every limit are the same to all.
const (
	risk = iota
	surprise
	rate
	numbers
)

var numbered = map[types.String]int{"risk": risk, "surprise": surprise, "rate": rate}

// limits are what one of the numbers is compared with, sorted in a shape.
type limits struct {
	at    []int64
	exact bool // it is used in another way: every value counts
}

// place is where n lies among the limits: below one, on it, or above.
func (l *limits) place(n int) int {
	if l.exact {
		return n
	}
	i, on := slices.BinarySearch(l.at, int64(n))
	if on {
		return 2*i + 1
	}
	return 2 * i
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
	access, isAccess := sides.Left.(ast.NodeTypeAccess)
	value, isValue := sides.Right.(ast.NodeValue)
	if !isAccess || !isValue {
		access, isAccess = sides.Right.(ast.NodeTypeAccess)
		value, isValue = sides.Left.(ast.NodeValue)
	}
	if !isAccess || !isValue {
		return 0, 0, false
	}
	number, known := numbered[access.Value]
	long, isLong := value.Value.(types.Long)
	return number, int64(long), known && isLong
}
