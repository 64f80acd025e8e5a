package servicecmd

import (
	"context"
	"errors"
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

// ErrHealthcheckURL says that what was given is no URL.
var ErrHealthcheckURL = errors.New("not a URL to ask")

// Healthcheck asks url and returns an error unless it answers 200 within three
// seconds. It is for container images that hold nothing but the binary, and so
// no other program that could ask.
func Healthcheck(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHealthcheckURL, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, healthcheckBody))
		return fmt.Errorf("HTTP %d: %s", resp.StatusCode, strings.TrimSpace(string(body)))
	}
	return nil
}

func (c Command[T]) healthcheck(ctx context.Context, p Process, url string) int {
	err := Healthcheck(ctx, url)
	if err == nil {
		return ExitDone
	}
	fmt.Fprintf(p.Stderr, "%s: --healthcheck: %v\n", c.Name, err)
	if errors.Is(err, ErrHealthcheckURL) {
		return ExitUsage
	}
	return ExitFailed
}
