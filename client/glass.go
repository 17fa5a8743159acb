package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/muster-id/muster/client/points"
)

// Points and their break-glass codes; see package points.
type (
	Point       = points.Point
	EnrollPoint = points.EnrollPoint
	SetPoint    = points.SetPoint
	GlassCode   = points.GlassCode
	GlassCodes  = points.GlassCodes
	GlassHalf   = points.GlassHalf
	GlassHolder = points.GlassHolder
)

// GetBreakGlass returns the break-glass codes of a point, by id or name.
func (c *Client) GetBreakGlass(ctx context.Context, point string) (GlassCodes, error) {
	return read[GlassCodes](ctx, c, at("/v1/points/", point, "/break-glass"), nil)
}

// TakeBreakGlass takes a half of a break-glass code of a point, which is shown once.
// Only a person's session may.
func (c *Client) TakeBreakGlass(ctx context.Context, point string, options ...Option) (GlassHalf, error) {
	return write[GlassHalf](ctx, c, http.MethodPost, at("/v1/points/", point, "/break-glass"), nil, options)
}

// WithdrawBreakGlass makes a break-glass code open nothing any more.
func (c *Client) WithdrawBreakGlass(ctx context.Context, point, serial string, options ...Option) (GlassCode, error) {
	return write[GlassCode](ctx, c, http.MethodDelete, at("/v1/points/", point, "/break-glass/"+url.PathEscape(serial)), nil, options)
}
