package proxy

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// stream is a streaming method's handler: messages go both ways, one at a time
// each, so that whoever does not read holds up whoever sends. The backend is asked
// once the first message is here, which is when the chain has judged the request:
// its answer would come before the refusal otherwise.
func (m *method) stream(_ any, client grpc.ServerStream) error {
	first := m.in.New().Interface()
	switch err := client.RecvMsg(first); {
	case errors.Is(err, io.EOF):
		first = nil
	case err != nil:
		return err
	}
	// Leaving, for whatever reason, stops the backend's work.
	ctx, cancel := context.WithCancelCause(client.Context())
	defer cancel(nil)
	m.explain(ctx)
	backend, err := m.backend.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, m.full)
	if err != nil {
		return err
	}
	// Nothing waits for this one: it ends with the client's stream, which ends when
	// the handler has returned.
	go func() {
		if err := m.forth(client, backend, first); err != nil {
			cancel(err)
		}
	}()
	for {
		resp := m.outType.New().Interface()
		if err := backend.RecvMsg(resp); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			// What the client sent was refused here, or could not be received.
			if ctx.Err() != nil && client.Context().Err() == nil {
				return context.Cause(ctx)
			}
			return err
		}
		if err := client.SendMsg(resp); err != nil {
			return err
		}
	}
}

// forth takes the client's messages to the backend, the first of which is here
// unless there is none. Its error is the client's side's: what is wrong with the
// backend comes with its answers.
func (m *method) forth(client grpc.ServerStream, backend grpc.ClientStream, first proto.Message) error {
	if first == nil {
		_ = backend.CloseSend()
		return nil
	}
	if backend.SendMsg(first) != nil {
		return nil //nolint:nilerr // RecvMsg says why
	}
	for {
		req := m.in.New().Interface()
		err := client.RecvMsg(req)
		if errors.Is(err, io.EOF) {
			_ = backend.CloseSend() // never fails, says grpc
			return nil
		}
		if err != nil {
			return err
		}
		if backend.SendMsg(req) != nil {
			return nil //nolint:nilerr // RecvMsg says why
		}
	}
}
