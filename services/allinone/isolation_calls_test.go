package allinone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// answer is what came back, all of it.
type answer struct{ code, body, headers string }

// transport is a way to the edge. A call that is not served that way has no
// answer.
type transport interface {
	name() string
	call(key string, m method, names map[string]string) (*answer, error)
}

type overGRPC struct{ g *gate }

func (overGRPC) name() string { return "grpc" }

func (o overGRPC) call(key string, m method, names map[string]string) (*answer, error) {
	f, err := m.fill(names)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(o.g.t.Context(), 20*time.Second)
	defer cancel()
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(m.desc.Output().FullName())
	if err != nil {
		return nil, err
	}
	var got answer
	var header, trailer metadata.MD
	if !m.desc.IsStreamingClient() && !m.desc.IsStreamingServer() {
		out := typ.New().Interface()
		err = o.g.conn.Invoke(ctx, m.name, f.message, out, grpc.Header(&header), grpc.Trailer(&trailer))
		if err == nil {
			got.body = printed(out)
		}
	} else {
		got.body, header, trailer, err = o.stream(ctx, m, f.message, typ)
	}
	s := status.Convert(err)
	got.code = s.Code().String()
	if err != nil {
		got.body += s.Message() + printed(s.Proto())
	}
	got.headers = headers(header) + headers(trailer)
	return &got, nil
}

// stream sends the one message and reads to the end.
func (o overGRPC) stream(ctx context.Context, m method, req proto.Message, typ protoreflect.MessageType) (body string, header, trailer metadata.MD, err error) {
	s, err := o.g.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.desc.IsStreamingClient(), ServerStreams: m.desc.IsStreamingServer()}, m.name)
	if err != nil {
		return "", nil, nil, err
	}
	if err := s.SendMsg(req); err != nil && !errors.Is(err, io.EOF) {
		return "", nil, nil, err
	}
	if err := s.CloseSend(); err != nil {
		return "", nil, nil, err
	}
	for err == nil {
		out := typ.New().Interface()
		if err = s.RecvMsg(out); err == nil {
			body += printed(out) + bytesOf(out)
		}
	}
	header, _ = s.Header()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return body, header, s.Trailer(), err
}

// printed is a message as text: protojson's spaces are chance.
func printed(m proto.Message) string {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var v any
	if json.Unmarshal(raw, &v) == nil {
		raw, _ = json.Marshal(v)
	}
	return string(raw)
}

// bytesOf is the files in a message, which protojson prints in base64.
func bytesOf(m proto.Message) (text string) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() == protoreflect.BytesKind && !f.IsList() {
			text += string(v.Bytes())
		}
		return true
	})
	return text
}

// varying are headers that differ between any two answers.
func varying(name string) bool {
	switch name = strings.ToLower(name); name {
	case "x-request-id", "traceparent", "date", "ratelimit", "content-length", "grpc-status-details-bin":
		return true
	}
	return strings.HasPrefix(name, "x-ratelimit-")
}

func headers[H ~map[string][]string](h H) string {
	var lines []string
	for name, values := range h {
		if !varying(name) {
			lines = append(lines, strings.ToLower(name)+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

type overREST struct{ g *gate }

func (overREST) name() string { return "rest" }

var variable = regexp.MustCompile(`\{([a-z_]+)(=[^}]*)?\}`)

func (o overREST) call(key string, m method, names map[string]string) (*answer, error) {
	options := m.desc.Options()
	if !proto.HasExtension(options, annotations.E_Http) {
		return nil, nil
	}
	rule, ok := proto.GetExtension(options, annotations.E_Http).(*annotations.HttpRule)
	if !ok {
		return nil, fmt.Errorf("%s has no rule", m.name)
	}
	f, err := m.fill(names)
	if err != nil {
		return nil, err
	}
	verb, path := "", ""
	for _, one := range []struct{ verb, path string }{
		{"GET", rule.GetGet()}, {"POST", rule.GetPost()}, {"PUT", rule.GetPut()}, {"PATCH", rule.GetPatch()}, {"DELETE", rule.GetDelete()},
	} {
		if one.path != "" {
			verb, path = one.verb, one.path
		}
	}
	path = variable.ReplaceAllStringFunc(path, func(v string) string {
		name := variable.FindStringSubmatch(v)[1]
		value := fmt.Sprint(f.fields[name])
		delete(f.fields, name)
		return url.PathEscape(value)
	})
	body := ""
	switch rule.GetBody() {
	case "":
		query := url.Values{}
		for name, value := range f.fields {
			query.Set(name, fmt.Sprint(value))
		}
		if len(query) > 0 {
			path += "?" + query.Encode()
		}
	case "*":
		raw, err := json.Marshal(f.fields)
		if err != nil {
			return nil, err
		}
		body = string(raw)
	default:
		return nil, fmt.Errorf("%s has a body of its own: %s", m.name, rule.GetBody())
	}
	got, err := o.g.rest(verb, path, key, body)
	return &got, err
}

// rest makes a request.
func (g *gate) rest(verb, path, key, body string) (answer, error) {
	req, err := http.NewRequestWithContext(g.t.Context(), verb, g.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{code: fmt.Sprint(resp.StatusCode), body: string(raw), headers: headers(resp.Header) + headers(resp.Trailer)}, nil
}
