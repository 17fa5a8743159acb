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
	ProbePoint  = points.ProbePoint
	PointProbe  = points.PointProbe
	GlassCode   = points.GlassCode
	GlassCodes  = points.GlassCodes
	GlassHalf   = points.GlassHalf
	GlassHolder = points.GlassHolder
)

// ProbePoint has the server sign an assertion of a point, by id or name, that is
// over: an application that answers it does not look at the time.
func (c *Client) ProbePoint(ctx context.Context, point string, p ProbePoint) (PointProbe, error) {
	return write[PointProbe](ctx, c, http.MethodPost, at("/v1/points/", point, "/probe"), p, nil)
}

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
