// Package glass is the room of the routes by which people prepare for a time
// without the server: they take halves of codes that open a point then, see who
// holds which, and withdraw them. A half is shown once, to a person and to no
// token.
package glass

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
)

// Register serves the routes.
func Register(h huma.API, f *frame.Frame) {
	type point struct {
		ID string `path:"id" maxLength:"100" doc:"id or name of the point"`
	}
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/points/{id}/break-glass", "get-break-glass", "points", "Show the break-glass codes of a point, the newest first, with who holds their halves"),
		func(ctx context.Context, in *point) (*frame.Body[client.GlassCodes], error) {
			codes, err := f.Glass.Codes(ctx, in.ID)
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.GlassCodes]{Body: codes}, nil
		})
	take := frame.Operation(http.MethodPost, "/v1/points/{id}/break-glass", "take-break-glass", "points", "Take a half of a code that opens a point while its server is away; it is shown once")
	take.Description = "Only people may, each in a session of their own: every token is refused, and whoever has the first half of a code waits for somebody else to take the second."
	huma.Register(h, take, func(ctx context.Context, in *point) (*frame.Body[client.GlassHalf], error) {
		half, err := f.Glass.Take(ctx, frame.CallerOf(ctx), in.ID)
		if err != nil {
			return nil, frame.Fail(err)
		}
		return &frame.Body[client.GlassHalf]{Body: half}, nil
	})
	withdraw := frame.Operation(http.MethodDelete, "/v1/points/{id}/break-glass/{serial}", "withdraw-break-glass", "points", "Withdraw a break-glass code: it opens nothing any more, at a point that the server reaches")
	withdraw.DefaultStatus = http.StatusOK
	huma.Register(h, withdraw, func(ctx context.Context, in *struct {
		ID     string `path:"id" maxLength:"100" doc:"id or name of the point"`
		Serial string `path:"serial" maxLength:"64" doc:"serial of the code"`
	}) (*frame.Body[client.GlassCode], error) {
		code, err := f.Glass.Withdraw(ctx, frame.CallerOf(ctx), in.ID, in.Serial)
		if err != nil {
			return nil, frame.Fail(err)
		}
		return &frame.Body[client.GlassCode]{Body: code}, nil
	})
}
