package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// A BackupRequest asks for a backup of the whole installation.
type BackupRequest struct {
	Recipients []string `json:"recipients"` // age1..., who can read it
}

// MakeBackup writes a backup of the server to w, encrypted to recipients, and
// returns how many bytes it has. It blocks for as long as the server writes,
// however long that is; the context ends it. A backup that was cut off is not
// noticed here but by whoever reads it.
func (c *Client) MakeBackup(ctx context.Context, request BackupRequest, to io.Writer) (int64, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return 0, fmt.Errorf("ask for a backup: %w", err)
	}
	res, err := c.patient().send(ctx, http.MethodPost, "/v1/backup", "application/json", "application/octet-stream, application/problem+json", bytes.NewReader(body), callOf(nil))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(to, res.Body)
	if err != nil {
		return n, fmt.Errorf("the backup was cut off after %d bytes: %w", n, err)
	}
	return n, nil
}
