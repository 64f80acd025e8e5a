package gateway

import (
	"fmt"
	"io"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

const contentTypeJSON = "application/json"

// marshaler lets the grpc-gateway read and write with our codec.
type marshaler struct{ codec *jsoncodec.Codec }

var _ runtime.Marshaler = marshaler{}

// Marshal writes v, a message.
func (m marshaler) Marshal(v any) ([]byte, error) {
	msg, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("gateway: %T is no message", v)
	}
	return m.codec.Marshal(msg)
}

// Unmarshal reads into v, a message.
func (m marshaler) Unmarshal(data []byte, v any) error {
	msg, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("gateway: %T is no message", v)
	}
	return m.codec.Unmarshal(data, msg)
}

// NewDecoder reads one message from r, a request's body.
func (m marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		b, ok := r.(*body)
		if !ok {
			return fmt.Errorf("gateway: the body is a %T", r)
		}
		data, err := b.readAll()
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return io.EOF // the grpc-gateway takes this for an empty message
		}
		if err := m.Unmarshal(data, v); err != nil {
			return b.fail(err)
		}
		return nil
	})
}

// NewEncoder writes messages to w.
func (m marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		data, err := m.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
}

// ContentType is JSON.
func (marshaler) ContentType(any) string { return contentTypeJSON }
