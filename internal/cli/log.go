package cli

import (
	"fmt"
	"log/slog"

	"github.com/muster-id/muster/internal/cli/command"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/output"
)

// logging makes the process's log: text on a terminal, JSON otherwise, on
// standard error. Every text in it passes the leak rules first, so a secret
// that got into an error ends there.
func (a *app) logging() error {
	scanner, err := leak.NewScanner()
	if err != nil {
		return fmt.Errorf("load the leak rules: %w", err)
	}
	level := slog.LevelInfo
	if a.Debug {
		level = slog.LevelDebug
	}
	set := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr { return redacted(scanner, at) }}
	var handler slog.Handler = slog.NewJSONHandler(a.Std.Err, set)
	if command.Terminal(a.Std.Err) {
		handler = slog.NewTextHandler(a.Std.Err, set)
	}
	slog.SetDefault(slog.New(handler))
	return nil
}

func redacted(scanner *leak.Scanner, at slog.Attr) slog.Attr {
	switch at.Value.Kind() {
	case slog.KindString:
		at.Value = slog.StringValue(output.Visible(scanner.RedactString(at.Value.String())))
	case slog.KindAny:
		switch v := at.Value.Any().(type) {
		case slog.Level:
		case []byte: // as numbers a secret would pass the rules
			at.Value = slog.StringValue(output.Count(len(v), "byte", "bytes"))
		default:
			at.Value = slog.StringValue(output.Visible(scanner.RedactString(fmt.Sprint(v))))
		}
	}
	return at
}
