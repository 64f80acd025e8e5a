package artifact

import (
	"context"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// receiver reads what a client appends. It holds one message, and the next one
// waits with the client. Reading ends with the context of whoever reads.
type receiver struct {
	data []byte
	next chan received
	end  chan struct{}
}

type received struct {
	data []byte
	err  error
}

func newReceiver(stream grpc.ClientStreamingServer[registryv1.AppendUploadRequest, registryv1.AppendUploadResponse], first []byte) *receiver {
	r := &receiver{data: first, next: make(chan received), end: make(chan struct{})}
	// It ends with the call at the latest, when nothing can be received any more.
	go func() {
		for {
			req, err := stream.Recv()
			if err == nil && (req.GetUpload() != "" || req.GetOffset() != 0 || req.GetSizeBytes() != 0 || req.GetChecksum() != nil) {
				err = apierr.Invalid("upload", "what comes is said in the first message only")
			}
			select {
			case r.next <- received{req.GetData(), err}:
			case <-r.end:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return r
}

// Read reads within ctx.
func (r *receiver) Read(ctx context.Context, p []byte) (int, error) {
	for len(r.data) == 0 {
		select {
		case got := <-r.next:
			if got.err != nil {
				return 0, got.err
			}
			r.data = got.data
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *receiver) stop() { close(r.end) }
