//go:build embedded

package backend

import (
	"errors"
	"log/slog"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery/consul"
)

// openConsul: a program that holds every service finds them in itself, and links no
// Consul client.
func openConsul(consul.Config, clock.Clock, *slog.Logger) (Backend, error) {
	return nil, errors.New("this program was built without Consul: its services find each other within it")
}
