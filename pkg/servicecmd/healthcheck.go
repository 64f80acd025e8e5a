package servicecmd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	healthcheckTimeout = 3 * time.Second
	healthcheckBody    = 4 << 10
)

// healthcheck is for container images that hold nothing but the binary, and so
// no other program that could ask.
func (c Command[T]) healthcheck(ctx context.Context, p Process, url string) int {
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: --healthcheck: %v\n", c.Name, err)
		return ExitUsage
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Fprintf(p.Stderr, "%s: %v\n", c.Name, err)
		return ExitFailed
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, healthcheckBody))
		fmt.Fprintf(p.Stderr, "%s: HTTP %d: %s\n", c.Name, resp.StatusCode, strings.TrimSpace(string(body)))
		return ExitFailed
	}
	return ExitDone
}
