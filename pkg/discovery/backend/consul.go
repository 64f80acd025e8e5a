//go:build !embedded

package backend

import (
	"log/slog"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery/consul"
)

func openConsul(cfg consul.Config, c clock.Clock, log *slog.Logger) (Backend, error) {
	return consul.New(cfg, c, log)
}
