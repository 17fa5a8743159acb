package leak

// An automaton finds every occurrence of many short needles in one pass. It is
// the algorithm of Aho and Corasick (1975) with all failure links worked out in
// advance, so that each byte costs one step through a dense table:
//
//	state = next[state*width + class[byte]]
//
// Three things keep the table small enough to stay in the processor's nearest
// cache. Letters are folded to lower case, bytes that occur in no needle share
// class 0, and a state is 16 bits. States in which a needle ends are numbered
// last: the loop recognises them with one comparison.
//
// Folding means that a hit is a candidate and nothing more. Who needs the exact
// case compares it again at the hit, which is rare.
type automaton struct {
	class  [256]uint8
	shift  uint     // log2 of the width of a row
	next   []uint16 // states x (1 << shift)
	accept uint16   // states from here on end at least one needle
	ends   [][]int  // by state - accept: indexes of the needles that end there, the longest first
	depth  int      // length of the longest needle
}

// maxStates is what 16 bits can number.
const maxStates = 1 << 16

// fold lowers one ASCII letter.
func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// newAutomaton builds the table for needles, none of which may be empty. It
// returns nil if the table would need more states than 16 bits can number.
func newAutomaton(needles [][]byte) *automaton {
	a := &automaton{}
	width := a.classify(needles)
	t := newTrie(needles, &a.class, width)
	if len(t.fail) > maxStates {
		return nil
	}
	t.link()
	a.number(t, width)
	for _, n := range needles {
		a.depth = max(a.depth, len(n))
	}
	return a
}

// classify gives every folded byte that occurs in a needle a class of its own
// and returns the width of a row, a power of two.
func (a *automaton) classify(needles [][]byte) int {
	classes := 1 // class 0: bytes of no needle
	for _, n := range needles {
		for _, c := range n {
			if c = fold(c); a.class[c] == 0 {
				a.class[c] = uint8(classes)
				classes++
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		a.class[c] = a.class[fold(c)]
	}
	for 1<<a.shift < classes {
		a.shift++
	}
	return 1 << a.shift
}

// A trie is the automaton under construction, states in order of creation.
type trie struct {
	width int
	next  []int32 // 0: no edge; the root has no incoming edge
	fail  []int32
	ends  [][]int
}

func newTrie(needles [][]byte, class *[256]uint8, width int) *trie {
	most := 1
	for _, n := range needles {
		most += len(n)
	}
	t := &trie{
		width: width,
		next:  make([]int32, 0, most*width),
		fail:  make([]int32, 0, most),
		ends:  make([][]int, 0, most),
	}
	t.add()
	for i, n := range needles {
		s := 0
		for _, c := range n {
			at := s*width + int(class[c])
			if t.next[at] == 0 {
				t.next[at] = int32(t.add())
			}
			s = int(t.next[at])
		}
		t.ends[s] = append(t.ends[s], i)
	}
	return t
}

func (t *trie) add() int {
	t.next = t.next[:len(t.next)+t.width]
	t.fail = append(t.fail, 0)
	t.ends = append(t.ends, nil)
	return len(t.fail) - 1
}

// link walks the trie breadth first and fills in, for every state and class,
// where a mismatch leads; a shorter needle that ends inside a longer one is
// added to the ends of the longer.
func (t *trie) link() {
	var queue []int32
	for _, s := range t.next[:t.width] {
		if s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		f := t.fail[s]
		t.ends[s] = append(t.ends[s], t.ends[f]...)
		for c := range t.width {
			at, back := int(s)*t.width+c, t.next[int(f)*t.width+c]
			if child := t.next[at]; child != 0 {
				t.fail[child] = back
				queue = append(queue, child)
			} else {
				t.next[at] = back
			}
		}
	}
}

// number copies the trie into the table with the accepting states last.
func (a *automaton) number(t *trie, width int) {
	n := len(t.fail)
	renamed := make([]uint16, n)
	id := uint16(0)
	for s := range n {
		if len(t.ends[s]) == 0 {
			renamed[s] = id
			id++
		}
	}
	a.accept = id
	for s := range n {
		if len(t.ends[s]) > 0 {
			renamed[s] = id
			a.ends = append(a.ends, t.ends[s])
			id++
		}
	}
	a.next = make([]uint16, n*width)
	for s := range n {
		row := a.next[int(renamed[s])*width:][:width]
		for c, to := range t.next[s*width:][:width] {
			row[c] = renamed[to]
		}
	}
}

// find runs from data[at] in the given state (0 at the start) to the end of
// the next needle. It returns the position behind that needle and the state to
// go on from, or, if there is none, len(data) and a state below a.accept.
func (a *automaton) find(data []byte, at int, state uint16) (int, uint16) {
	next, shift, accept := a.next, a.shift&15, a.accept
	for i := at; i < len(data); i++ {
		state = next[int(state)<<shift|int(a.class[data[i]])]
		if state >= accept {
			return i + 1, state
		}
	}
	return len(data), 0
}

// ending lists the needles that end in an accepting state.
func (a *automaton) ending(state uint16) []int { return a.ends[state-a.accept] }
