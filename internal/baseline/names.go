package baseline

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/muster-id/muster/internal/surprise"
)

// Bounds of the dictionary. Its words come from outside.
const (
	maxNames    = 1 << 18
	maxNameSize = 160 // bytes
)

// names is the dictionary from hashes to words. Words are added and never
// removed; when it is full, new ones are shown by their hash.
type names struct {
	words sync.Map // uint64 to string
	count atomic.Int64
}

// Name returns the text behind a hash, or "".
func (n *names) Name(hash uint64) string {
	if v, ok := n.words.Load(hash); ok {
		return v.(string)
	}
	return ""
}

func (n *names) add(hash uint64, text string) {
	if hash == 0 || text == "" || n.count.Load() >= maxNames {
		return
	}
	if len(text) > maxNameSize {
		text = text[:maxNameSize]
	}
	text = strings.ToValidUTF8(strings.Clone(text), "") // events live in large buffers
	if _, loaded := n.words.LoadOrStore(hash, text); !loaded {
		n.count.Add(1)
	}
}

// remember adds the words of an event, unless the identity showed them
// before, when they are in the dictionary already.
func (l *Learner) remember(call *surprise.Call, obs *surprise.Observation, score *surprise.Score) {
	for f := range surprise.Categories {
		hash := obs.Value(f)
		if hash == 0 || score.Established && !score.Features[f].New {
			continue
		}
		if _, known := l.names.words.Load(hash); !known {
			l.names.add(hash, call.Text(f))
		}
	}
}
