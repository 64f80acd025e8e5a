package grpcserver

import (
	"buf.build/go/protovalidate"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/telemetry"
)

// The names of the interceptors offered here.
const (
	NameRecover   = "recover"
	NameRequestID = "request id"
	NameTelemetry = "telemetry"
	NameErrors    = "errors"
	NameValidate  = "validate"
)

// StandardOptions is what Standard needs.
type StandardOptions struct {
	Telemetry *telemetry.Telemetry
	Clock     clock.Clock
	IDs       ids.Source
	Validator protovalidate.Validator
	// Probes are the methods that Telemetry takes for such.
	Probes []string
}

// Standard returns the chain of a service behind the edge: recover, request
// id, telemetry, errors, validate. A service inserts its own steps with
// slices.Insert, or composes its chain from the parts.
func Standard(o StandardOptions) (Chain, error) {
	tel, err := Telemetry(o.Telemetry, o.Clock, o.Probes...)
	if err != nil {
		return nil, err
	}
	return Chain{
		Recover(o.Telemetry.Logger), RequestID(o.IDs), tel, Errors(), Validate(o.Validator),
	}, nil
}
