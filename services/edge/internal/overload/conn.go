package overload

import (
	"context"

	"google.golang.org/grpc"
)

// Class says how a call passes a gate.
type Class struct {
	Priority
	// Long says that how long the call takes says nothing of how much there is to do:
	// that depends on what it brings.
	Long bool
}

// conn is a connection whose calls with one answer pass a gate. Streams do not: what
// they carry, imports and archives, is held back by flow control.
type conn struct {
	grpc.ClientConnInterface
	gate  *Gate
	class func(ctx context.Context, method string) Class
}

// Before returns next behind the gate; class says of each call how it passes.
func Before(next grpc.ClientConnInterface, g *Gate, class func(ctx context.Context, method string) Class) grpc.ClientConnInterface {
	return &conn{next, g, class}
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	class := c.class(ctx, method)
	v, err := c.gate.Enter(ctx, class.Priority)
	if err != nil {
		return err
	}
	defer v.Leave()
	v.long = class.Long
	err = c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	v.Answered(ctx, err)
	return err
}
