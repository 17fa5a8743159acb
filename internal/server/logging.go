package server

import (
	"context"
	"io"
	"log/slog"

	"github.com/muster-id/muster/internal/leak"
)

// NewLogHandler returns a handler that cannot print a secret of a kind the
// leak rules know: every message and every text is searched before it is
// written. Text is for people at a terminal, JSON for everything else.
func NewLogHandler(w io.Writer, level slog.Leveler, json bool) (slog.Handler, error) {
	scanner, err := leak.NewScanner()
	if err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return redact(scanner, a) }}
	if json {
		return redacting{slog.NewJSONHandler(w, opts), scanner}, nil
	}
	return redacting{slog.NewTextHandler(w, opts), scanner}, nil
}

func redact(scanner *leak.Scanner, a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(scanner.RedactString(v.String()))
	case slog.KindAny:
		switch x := v.Any().(type) {
		case error:
			a.Value = slog.StringValue(scanner.RedactString(x.Error()))
		case []byte:
			a.Value = slog.StringValue(scanner.RedactString(string(x)))
		case *slog.Source:
		default:
			// What prints itself may print anything.
			a.Value = slog.StringValue(scanner.RedactString(v.String()))
		}
	}
	return a
}

// redacting cleans the message; ReplaceAttr cleans the attributes.
type redacting struct {
	slog.Handler
	scanner *leak.Scanner
}

func (r redacting) Handle(ctx context.Context, rec slog.Record) error {
	rec.Message = r.scanner.RedactString(rec.Message)
	return r.Handler.Handle(ctx, rec)
}

func (r redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return redacting{r.Handler.WithAttrs(attrs), r.scanner}
}

func (r redacting) WithGroup(name string) slog.Handler {
	return redacting{r.Handler.WithGroup(name), r.scanner}
}
