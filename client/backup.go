package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A BackupRequest asks for a backup of the whole installation.
type BackupRequest struct {
	Recipients []string `json:"recipients"` // age1..., who can read it
}

// Backup writes a backup of the server to w, encrypted to recipients, and
// returns how many bytes it has. It blocks for as long as the server writes. A
// backup that was cut off is not noticed here but by whoever reads it.
func (c *Client) Backup(ctx context.Context, request BackupRequest, to io.Writer) (int64, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return 0, fmt.Errorf("ask for a backup: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+"/v1/backup", bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("ask for a backup: %w", err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Content-Type", "application/json")
	patient := *c.http
	patient.Timeout = 6 * time.Hour
	res, err := patient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("reach the server at %s: %w", c.base, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		return 0, errors.Join(refusal(res.StatusCode, text), err)
	}
	n, err := io.Copy(to, res.Body)
	if err != nil {
		return n, fmt.Errorf("the backup was cut off after %d bytes: %w", n, err)
	}
	return n, nil
}
