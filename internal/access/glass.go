package access

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/nhi"
)

// A GlassState says how far a code is.
type GlassState string

// The states of a code. An expired one is found by its time.
const (
	GlassHalf      GlassState = "half"      // one person has a half; it opens nothing
	GlassReady     GlassState = "ready"     // two people have a half each
	GlassUsed      GlassState = "used"      // it opened its point
	GlassWithdrawn GlassState = "withdrawn" // it opens nothing any more
	GlassExpired   GlassState = "expired"
)

// A Glass is a code that opens a point while the server is gone, as it is kept.
type Glass struct {
	Serial  string
	Point   nhi.ID
	State   GlassState
	Created time.Time
	Expires time.Time
	Holders []Holder // one or two
	// Of a code that was used:
	Opened time.Time
	// Stated is Opened by the clock of the point, which may be wrong, and the same
	// in all that the point tells of this opening. Zero where an earlier release
	// kept it: then it is Opened.
	Stated time.Time
	Until  time.Time
	Reason string
	// Ended is when it was over, zero until the point told; Allowed is how many
	// requests it let pass.
	Ended   time.Time
	Allowed int64
	Closed  time.Time // of one that opens nothing any more: since when

	First, Second []byte // SHA-256 of the halves; Second is nil while it is half
}

// A Holder is a person who keeps a half.
type Holder struct {
	Person string
	Name   string
	Since  time.Time
}

// StateAt is the state with expiry looked at.
func (g *Glass) StateAt(now time.Time) GlassState {
	if (g.State == GlassHalf || g.State == GlassReady) && !now.Before(g.Expires) {
		return GlassExpired
	}
	return g.State
}

// Is reports whether an opening, as the point tells it, is the one that is kept.
func (g *Glass) Is(o *breakglass.Opening) bool {
	if g.Stated.IsZero() {
		return g.Opened.Equal(o.Opened)
	}
	return g.Stated.Equal(o.Opened)
}

// Glasses keeps codes.
type Glasses interface {
	// Glasses returns the codes of a point, or of all if it is empty, the newest
	// first.
	Glasses(ctx context.Context, point nhi.ID) ([]Glass, error)
	// ChangeGlass changes the codes of a point in a transaction: change gets them,
	// the newest first, and what it returns is stored. The codes that are ready
	// then are the point's. The error wraps nhi.ErrNotFound when there is no such
	// point, or is that of change.
	ChangeGlass(ctx context.Context, point string, change func(p *nhi.Point, codes []Glass) (*Glass, error)) (Glass, error)
}

// Bounds on codes.
const (
	glassLasts = 180 * 24 * time.Hour
	glassMost  = 10 // of a point that are ready
)

// TakeHalf gives a person a half of a code that opens a point, which exists
// nowhere else: the second half of one that somebody else began, or the first of
// a new one. The error wraps nhi.ErrNotFound, or nhi.ErrConflict when this
// person must wait for another.
func (s *Service) TakeHalf(ctx context.Context, point, person, name string) (half string, g Glass, err error) {
	half, verifier := breakglass.Mint()
	at := now()
	g, err = s.c.Glasses.ChangeGlass(ctx, point, func(p *nhi.Point, codes []Glass) (*Glass, error) {
		ready := 0
		for i := range codes {
			c := &codes[i]
			state := c.StateAt(at)
			if state == GlassReady {
				ready++
			}
			if state != GlassHalf {
				continue
			}
			if c.Holders[0].Person == person {
				return nil, fmt.Errorf("%s holds the first half of code %s already: another person takes the second, or it is withdrawn: %w", name, c.Serial, nhi.ErrConflict)
			}
			c.State, c.Second = GlassReady, verifier[:]
			c.Holders = append(c.Holders, Holder{person, name, at})
			c.Expires = at.Add(glassLasts)
			return c, nil
		}
		if ready >= glassMost {
			return nil, fmt.Errorf("point %s has %d codes already: withdraw one: %w", p.Name, ready, nhi.ErrConflict)
		}
		serial, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		return &Glass{
			Serial: serial.String(), Point: p.ID, State: GlassHalf, Created: at, Expires: at.Add(glassLasts), Holders: []Holder{{person, name, at}}, First: verifier[:],
		}, nil
	})
	if err != nil {
		return "", Glass{}, fmt.Errorf("take a half for point %s: %w", point, err)
	}
	return half, g, nil
}

// WithdrawGlass makes a code open nothing any more, at a point that the server
// reaches. The error wraps nhi.ErrConflict when it is over.
func (s *Service) WithdrawGlass(ctx context.Context, point, serial string) (Glass, error) {
	return s.endGlass(ctx, point, serial, func(g *Glass) error {
		if state := g.StateAt(now()); state != GlassHalf && state != GlassReady {
			return fmt.Errorf("code %s is %s: %w", g.Serial, state, nhi.ErrConflict)
		}
		g.State = GlassWithdrawn
		return nil
	})
}

// GlassUsed notes that a code opened its point, whatever the server knew of it,
// and how that ended, with times that have not come yet put to the present. It
// reports whether that is news. Of a code that was opened twice, which is told by
// its Opened, the first time is kept.
func (s *Service) GlassUsed(ctx context.Context, point string, o breakglass.Opening) (g Glass, news bool, err error) {
	g, err = s.endGlass(ctx, point, o.Serial, func(g *Glass) error {
		first, placed := g.State != GlassUsed, o.At(time.Now())
		news = first || g.Is(&o) && g.Ended.IsZero() && !o.Closed.IsZero()
		if first {
			g.State, g.Stated, g.Opened, g.Until = GlassUsed, o.Opened, placed.Opened, placed.Until()
		}
		if news {
			g.Reason, g.Ended, g.Allowed = o.Reason, placed.Closed, o.Allowed
		}
		return nil
	})
	return g, news, err
}

func (s *Service) endGlass(ctx context.Context, point, serial string, end func(*Glass) error) (Glass, error) {
	g, err := s.c.Glasses.ChangeGlass(ctx, point, func(p *nhi.Point, codes []Glass) (*Glass, error) {
		for i := range codes {
			if c := &codes[i]; c.Serial == serial {
				if c.Closed.IsZero() {
					c.Closed = now()
				}
				return c, end(c)
			}
		}
		return nil, fmt.Errorf("code %.80q of point %s: %w", serial, p.Name, nhi.ErrNotFound)
	})
	if err != nil {
		return Glass{}, fmt.Errorf("end a code of point %s: %w", point, err)
	}
	return g, nil
}

// Glasses returns the codes of a point, the newest first.
func (s *Service) Glasses(ctx context.Context, point nhi.ID) ([]Glass, error) {
	return s.c.Glasses.Glasses(ctx, point)
}
