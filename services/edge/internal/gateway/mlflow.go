package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/mlflow"
)

func mlflowPath(path string) bool { return strings.HasPrefix(path, mlflow.Prefix) }

// mlflow answers a call of MLflow's API. Members that the contract does not know
// are passed over: clients of other versions send them.
func (h *handler) mlflow(w *writer, r *http.Request, rt *route) {
	req, resp, err := mlflowMessages(rt.rpc)
	if err == nil {
		err = readMlflow(r, req)
	}
	if err != nil {
		writeError(w, r, err)
		return
	}
	var header metadata.MD
	err = h.Conn.Invoke(h.callContext(r.Context(), r.Header), rt.rpc, req, resp, grpc.Header(&header))
	h.answer(w, r, header, resp, err)
}

// mlflowMessages makes the messages of a method.
func mlflowMessages(rpc string) (req, resp proto.Message, err error) {
	name := strings.ReplaceAll(strings.TrimPrefix(rpc, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil, nil, fmt.Errorf("gateway: %s: %w", rpc, err)
	}
	method, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, nil, fmt.Errorf("gateway: %s is no method", rpc)
	}
	in, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return nil, nil, fmt.Errorf("gateway: %s: %w", rpc, err)
	}
	out, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, nil, fmt.Errorf("gateway: %s: %w", rpc, err)
	}
	return in.New().Interface(), out.New().Interface(), nil
}

// readMlflow reads a request from the query of a GET and from the body of anything
// else.
func readMlflow(r *http.Request, req proto.Message) error {
	var data []byte
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return apierr.Invalid("query", "query: cannot be read")
		}
		members := map[string]any{}
		for name, list := range values {
			if f := req.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name)); f != nil && f.IsList() {
				members[name] = list
				continue
			}
			members[name] = list[len(list)-1]
		}
		if data, err = json.Marshal(members); err != nil {
			return fmt.Errorf("query: %w", err)
		}
	} else {
		b, ok := r.Body.(*body)
		if !ok {
			return apierr.New(apierr.Internal, "the body is not bounded")
		}
		var err error
		if data, err = b.readAll(); err != nil {
			return err
		}
	}
	if len(data) == 0 {
		return nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, req); err != nil {
		return apierr.New(apierr.InvalidArgument, "the request cannot be read: it must be a JSON object of the members that MLflow's API has")
	}
	return nil
}
