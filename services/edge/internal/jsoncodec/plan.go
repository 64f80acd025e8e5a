package jsoncodec

import (
	"fmt"
	"strings"
	"sync"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// form is how a message looks as JSON.
type form int

const (
	formObject    form = iota
	formRaw            // any value, kept
	formUnion          // one of several types
	formList           // an array
	formWellKnown      // as protojson has it
)

// plan is what the codec needs to know about a message, worked out once.
type plan struct {
	name   string
	form   form
	fields []*field          // in the order of declaration; without extra
	byName map[string]*field // by every name that is accepted
	extra  *field            // where unknown members go, or nil
	only   *field            // the field of a raw or list message
	always uint64            // which of the first 64 fields are written even if not set
	varies bool              // so are others
	union  map[jsontext.Kind]*field
	wants  string                   // for a union: the types it may be
	known  protoreflect.MessageType // of a well-known type
}

// field is one member.
type field struct {
	desc     protoreflect.FieldDescriptor
	name     string
	prefix   []byte // "name":
	isList   bool
	isMap    bool
	index    int // its place among the message's fields
	oneof    int // the index of its oneof, or -1
	emit     commonv1.JsonEmit
	absent   bool // it is not written where it is not set
	maxItems int  // 0: the codec's default
	value    value
}

// value is the type of one value of a field: of the field itself, of a list's
// item, or of a map's value.
type value struct {
	kind protoreflect.Kind
	msg  *plan
	enum protoreflect.EnumDescriptor
	// quoted says that a whole number may come as a string, as JavaScript's
	// clients send what a double cannot hold.
	quoted bool
}

// planner makes plans and keeps them.
type planner struct {
	mu    sync.Mutex
	plans sync.Map // protoreflect.MessageDescriptor → *plan, complete
	open  map[protoreflect.FullName]*plan
}

func (pl *planner) of(md protoreflect.MessageDescriptor) (*plan, error) {
	if v, ok := pl.plans.Load(md); ok {
		if p, ok := v.(*plan); ok {
			return p, nil
		}
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	pl.open = make(map[protoreflect.FullName]*plan)
	p, err := pl.build(md)
	pl.open = nil
	if err != nil {
		return nil, fmt.Errorf("jsoncodec: %w", err)
	}
	pl.plans.Store(md, p)
	return p, nil
}

// build makes the plan of md and of all messages below it, which may hold it
// again.
func (pl *planner) build(md protoreflect.MessageDescriptor) (*plan, error) {
	if p, ok := pl.open[md.FullName()]; ok {
		return p, nil
	}
	p := &plan{name: string(md.FullName()), byName: make(map[string]*field)}
	pl.open[md.FullName()] = p
	if strings.HasPrefix(p.name, "google.protobuf.") && wellKnown(p.name) {
		p.form = formWellKnown
		var err error
		if p.known, err = protoregistry.GlobalTypes.FindMessageByName(md.FullName()); err != nil {
			return nil, fmt.Errorf("%s: %w", md.FullName(), err)
		}
		return p, nil
	}
	fds := md.Fields()
	for i := range fds.Len() {
		f, err := pl.field(fds.Get(i))
		if err != nil {
			return nil, err
		}
		extra, _ := proto.GetExtension(f.desc.Options(), commonv1.E_JsonExtra).(bool)
		if !extra {
			p.fields = append(p.fields, f)
			p.writes(f)
			continue
		}
		if !f.desc.IsMap() || f.desc.MapValue().Kind() != protoreflect.StringKind {
			return nil, fmt.Errorf("%s: json_extra is for map<string, string>", f.desc.FullName())
		}
		p.extra = f
	}
	if p.extra != nil { // OpenAI's, which is strict about it
		for _, f := range p.fields {
			f.value.quoted = false
		}
	}
	jsonForm, _ := proto.GetExtension(md.Options(), commonv1.E_JsonForm).(commonv1.JsonForm)
	if err := p.shape(jsonForm); err != nil {
		return nil, err
	}
	return p, nil
}

func (pl *planner) field(fd protoreflect.FieldDescriptor) (*field, error) {
	f := &field{desc: fd, name: string(fd.Name()), index: fd.Index(), oneof: -1, isList: fd.IsList(), isMap: fd.IsMap()}
	f.prefix = append(append([]byte{'"'}, f.name...), '"', ':')
	if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
		f.oneof = o.Index()
	}
	f.emit, _ = proto.GetExtension(fd.Options(), commonv1.E_JsonEmit).(commonv1.JsonEmit)
	f.absent = f.emit != commonv1.JsonEmit_JSON_EMIT_NULL && (f.emit == commonv1.JsonEmit_JSON_EMIT_NONEMPTY || fd.HasPresence())
	if rules, ok := proto.GetExtension(fd.Options(), validate.E_Field).(*validate.FieldRules); ok {
		if n := rules.GetRepeated().GetMaxItems(); n > 0 && n <= 1<<30 {
			f.maxItems = int(n)
		}
		if n := rules.GetMap().GetMaxPairs(); n > 0 && n <= 1<<30 {
			f.maxItems = int(n)
		}
	}
	of := fd
	if fd.IsMap() {
		if fd.MapKey().Kind() != protoreflect.StringKind {
			return nil, fmt.Errorf("%s: only maps with string keys are supported", fd.FullName())
		}
		of = fd.MapValue()
	}
	f.value = value{kind: of.Kind(), enum: of.Enum(), quoted: wide(of.Kind())}
	if md := of.Message(); md != nil {
		if f.value.kind == protoreflect.GroupKind {
			return nil, fmt.Errorf("%s: groups are not supported", fd.FullName())
		}
		var err error
		if f.value.msg, err = pl.build(md); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// wide reports whether values of the kind may be too large for a double.
func wide(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return true
	default:
		return false
	}
}

// shape completes the plan according to the message's JSON form.
func (p *plan) shape(jsonForm commonv1.JsonForm) error {
	switch jsonForm {
	case commonv1.JsonForm_JSON_FORM_RAW:
		p.form = formRaw
		if len(p.fields) != 1 || p.fields[0].value.kind != protoreflect.StringKind {
			return fmt.Errorf("%s: a raw message has one string field", p.name)
		}
		p.only = p.fields[0]
	case commonv1.JsonForm_JSON_FORM_LIST:
		p.form = formList
		if len(p.fields) != 1 || !p.fields[0].desc.IsList() {
			return fmt.Errorf("%s: a list message has one repeated field", p.name)
		}
		p.only = p.fields[0]
	case commonv1.JsonForm_JSON_FORM_UNION:
		p.form = formUnion
		return p.shapeUnion()
	case commonv1.JsonForm_JSON_FORM_UNSPECIFIED:
		for _, f := range p.fields {
			p.byName[f.name] = f
			if camel := f.desc.JSONName(); p.extra == nil {
				p.byName[camel] = f
			}
		}
	default:
		return fmt.Errorf("%s: unknown JSON form %v", p.name, jsonForm)
	}
	return nil
}

// distinct refuses an unknown member whose name is a known one's in another
// case: a reader that knows no case would take it for that, unchecked.
func (p *plan) distinct(name string) error {
	for known := range p.byName {
		if known != name && strings.EqualFold(known, name) {
			return faultf("must be spelled %s", known)
		}
	}
	return nil
}

func (p *plan) shapeUnion() error {
	p.union = make(map[jsontext.Kind]*field)
	var wants []string
	for _, f := range p.fields {
		if f.oneof < 0 {
			return fmt.Errorf("%s: a union message has one oneof and nothing else", p.name)
		}
		kinds, name := f.value.jsonKinds()
		for _, k := range kinds {
			if other, taken := p.union[k]; taken {
				return fmt.Errorf("%s: %s and %s claim the same JSON type", p.name, other.name, f.name)
			}
			p.union[k] = f
		}
		wants = append(wants, name)
	}
	p.wants = strings.Join(wants, " or ")
	return nil
}

// jsonKinds returns the JSON types that a value of v is written as, and their
// name for messages.
func (v value) jsonKinds() ([]jsontext.Kind, string) {
	switch v.kind {
	case protoreflect.BoolKind:
		return []jsontext.Kind{'t', 'f'}, "true or false"
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		return []jsontext.Kind{'"'}, "a string"
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if v.msg.form == formList {
			return []jsontext.Kind{'['}, "an array"
		}
		return []jsontext.Kind{'{'}, "an object"
	default:
		return []jsontext.Kind{'0'}, "a number"
	}
}
