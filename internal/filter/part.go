package filter

import "github.com/muster-id/muster/internal/nhi"

// A Part says which part of a filtered list is wanted.
type Part struct {
	Expr   Expr
	Within nhi.Scopes // nil: everywhere
	Order  Order
	After  Position // zero: from the beginning
	Limit  int
	Count  bool // also count what there is in all
}

// A Position is the place of a row in a list's order. What Text and Number
// mean is up to the list; ID breaks ties and is never empty.
type Position struct {
	Text   string
	Number int64
	ID     string
}

// MaxCount is how far the rows of a filtered list are counted.
const MaxCount = 10_000

// A Slice is a part of a list.
type Slice[T any] struct {
	Rows    []T
	More    bool // there are rows behind these
	Total   int  // when it was asked for
	AtLeast bool // there are more than Total
}
