package serving

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Noting returns the connection to the registry, of which m is told each call that may
// have changed what serves, once it is over: also one that failed, which may have been
// done all the same. A nil m is told nothing.
func Noting(conn grpc.ClientConnInterface, m *Memory) grpc.ClientConnInterface {
	if m == nil {
		return conn
	}
	return noting{conn, m}
}

type noting struct {
	grpc.ClientConnInterface

	memory *Memory
}

func (n noting) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := n.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if changes(method) {
		n.memory.Written()
	}
	return err
}

func (n noting) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := n.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	if err == nil && changes(method) {
		s = notingStream{s, n.memory}
	}
	return s, err
}

// notingStream tells of a stream whose answer came, or which failed.
type notingStream struct {
	grpc.ClientStream

	memory *Memory
}

func (s notingStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.memory.Written()
	return err
}

// changes reports whether a method may change what serves: those of the registry that do
// not read by their name. Artifacts and feedback decide nothing.
func changes(method string) bool {
	name, ok := strings.CutPrefix(method, "/"+registryv1.RegistryService_ServiceDesc.ServiceName+"/")
	if !ok || method == registryv1.RegistryService_RecordFeedback_FullMethodName || method == registryv1.RegistryService_ReportOutcomes_FullMethodName {
		return false
	}
	for _, read := range [...]string{"Get", "List", "Watch", "Resolve", "Render", "Inspect", "Export"} {
		if strings.HasPrefix(name, read) {
			return false
		}
	}
	return true
}
