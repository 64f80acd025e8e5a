package allinone

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// method is a method of the edge, and how it is asked about a tenant's things.
type method struct {
	name    string // /package.Service/Method
	variant string // tells several requests of one method apart
	desc    protoreflect.MethodDescriptor
	request
}

// request is what a method needs besides the names of things, which are filled in
// by the names of fields.
type request struct {
	// json is in protojson's form, rest the same where REST has another; {model} and so on stand for names.
	json, rest string
	// nothing is why the request names none of the tenant's things.
	nothing string
	// shared is why what it answers by may be told to others.
	shared string
	// public: nobody may ask it, too.
	public bool
	// platform: only callers of the platform's tenant are answered.
	platform bool
	// reads: its owner is answered, and nothing changes.
	reads bool
	// tells: what its owner is answered holds the marker.
	tells bool
	// makes: it makes something of that name in the caller's own tenant, and is
	// asked last.
	makes bool
}

// named are the fields that name things, whatever the message.
func named() map[string]string {
	return map[string]string{
		"collection": "collection", "document": "document", "model": "model", "model_name": "model", "experiment": "experiment",
		"rollout": "rollout", "alias": "alias", "variant": "variant", "response_id": "response",
	}
}

// methods are all that the edge serves, each with its request. One that is new,
// and of which nobody has said how it is asked, fails the test.
func (g *gate) methods(a *acme) (out []method) {
	g.t.Helper()
	served := new(recorder)
	g.edge.RegisterGRPC(served)
	known := requests()
	used := make(map[string]bool)
	for _, name := range served.methods {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(name[1:], "/", ".")))
		desc, ok := d.(protoreflect.MethodDescriptor)
		if err != nil || !ok {
			g.t.Fatalf("%s: %v", name, err)
		}
		short := name[strings.LastIndex(name, ".")+1:]
		forms := []string{""}
		for key := range known {
			if strings.HasPrefix(key, short+"+") {
				forms = append(forms, strings.TrimPrefix(key, short))
			}
		}
		for _, form := range forms {
			m := method{name: name, variant: form, desc: desc, request: known[short+form]}
			used[short+form] = true
			method := string(desc.Name())
			m.reads = m.reads || form == "" && (strings.HasPrefix(method, "Get") || strings.HasPrefix(method, "List") || method == "Search")
			m.makes = m.makes || strings.HasPrefix(method, "Create") || strings.HasPrefix(method, "Import") || strings.HasPrefix(method, "Restore")
			filled, err := m.fill(a.names)
			if err == nil && m.nothing != notOffered {
				err = protovalidate.Validate(filled.message)
			}
			switch {
			case err != nil:
				g.t.Errorf("%s%s: no request can be built: %v", name, form, err)
				continue
			case filled.names == 0 && m.nothing == "" && m.shared == "":
				g.t.Errorf("%s%s: the request names nothing of the tenant: say in requests() how it does, or why it does not", name, form)
				continue
			}
			out = append(out, m)
		}
	}
	for key := range known {
		if !used[key] {
			g.t.Errorf("%s is no method of the edge", key)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return !out[i].makes && out[j].makes })
	return out
}

// recorder remembers what is registered.
type recorder struct{ methods []string }

func (r *recorder) RegisterService(d *grpc.ServiceDesc, _ any) {
	for _, m := range d.Methods {
		r.methods = append(r.methods, "/"+d.ServiceName+"/"+m.MethodName)
	}
	for _, s := range d.Streams {
		r.methods = append(r.methods, "/"+d.ServiceName+"/"+s.StreamName)
	}
}

// filled is a request, and how many of the tenant's things it names.
type filled struct {
	message proto.Message
	fields  map[string]any // as REST has them
	names   int
}

// fill makes the request about the things of those names.
func (m method) fill(names map[string]string) (filled, error) {
	text, rest := m.json, m.rest
	if rest == "" {
		rest = text
	}
	var f filled
	var pairs []string
	for what, name := range names {
		if strings.Contains(text, "{"+what+"}") {
			f.names++
		}
		pairs = append(pairs, "{"+what+"}", name)
	}
	place := strings.NewReplacer(pairs...)
	typ, err := protoregistry.GlobalTypes.FindMessageByName(m.desc.Input().FullName())
	if err != nil {
		return f, err
	}
	f.message = typ.New().Interface()
	f.fields = make(map[string]any)
	if text != "" {
		if err := protojson.Unmarshal([]byte(place.Replace(text)), f.message); err != nil {
			return f, err
		}
		d := json.NewDecoder(bytes.NewReader([]byte(place.Replace(rest))))
		d.UseNumber()
		if err := d.Decode(&f.fields); err != nil {
			return f, fmt.Errorf("%w in %s", err, rest)
		}
	}
	r := f.message.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		field := r.Descriptor().Fields().Get(i)
		name := string(field.Name())
		what, ok := named()[name]
		if !ok && name == "version" && field.Kind() == protoreflect.StringKind && !r.Has(field) {
			r.Set(field, protoreflect.ValueOfString("1"))
			f.fields[name] = "1"
		}
		if name == "etag" && !r.Has(field) {
			r.Set(field, protoreflect.ValueOfString("mine"))
			f.fields[name] = "mine"
		}
		if ok && field.Kind() == protoreflect.StringKind && !field.IsList() && !r.Has(field) {
			r.Set(field, protoreflect.ValueOfString(names[what]))
			f.fields[name] = names[what]
			f.names++
		}
	}
	return f, nil
}
