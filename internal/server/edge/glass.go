package edge

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// glass takes a point's word that it was opened by a break-glass code.
func (h *Hub) glass(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	var o breakglass.Opening
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&o); err != nil || !sound(&o) {
		refuse(w, http.StatusBadRequest, "that is not how a point says that it was opened")
		return
	}
	if err := h.c.Glass(r.Context(), point, &o); err != nil {
		slog.Warn("a point was opened by a break-glass code, and that could not be recorded; it tells again", "point", point.ID, "error", err)
		refuse(w, http.StatusServiceUnavailable, "what happened cannot be recorded at the moment")
		return
	}
	w.WriteHeader(http.StatusOK)
}

// sound reports whether an opening can be what it says. When it was is the word
// of the point's clock, which may be wrong.
func sound(o *breakglass.Opening) bool {
	return len(o.Serial) > 0 && len(o.Serial) <= 64 && len(o.Reason) <= 2048 && enforce.Plain(o.Serial, 64) && enforce.Plain(o.Reason, 2048) &&
		o.For > 0 && o.For <= breakglass.Longest && shown(o.Opened) && (o.Closed.IsZero() || shown(o.Closed)) && o.Allowed >= 0
}

// shown reports whether a point's clock may show such a time: one that was never set
// begins in 1970, and its point must be heard all the same (see [breakglass.Opening.At]).
func shown(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1970 && year <= 9999
}

// told reports whether a clock may tell such a time, however wrong it is. JSON has
// no years before 0 and behind 9999, and what is kept must be shown.
func told(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 2000 && year <= 9999
}
