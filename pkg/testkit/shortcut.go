package testkit

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// CheckShortcut tries a quick look at messages (grpcserver.Shortcut) with many that are
// base with one to three fields changed, at any depth: what sure says true of must keep
// its rules. base must be a message that sure knows.
func CheckShortcut(t *testing.T, sure func(proto.Message) bool, base proto.Message) {
	t.Helper()
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	if !sure(base) {
		t.Errorf("%s: the quick look does not know %v", base.ProtoReflect().Descriptor().FullName(), base)
	}
	const tries = 5_000
	random, known := rand.New(rand.NewPCG(1, 2)), 0
	for range tries {
		m := proto.Clone(base)
		for range 1 + random.IntN(3) {
			mutate(random, m.ProtoReflect(), 0)
		}
		if !sure(m) {
			continue
		}
		known++
		if err := v.Validate(m); err != nil {
			t.Fatalf("the quick look took %v, which breaks a rule: %v", m, err)
		}
	}
	if known < tries/100 {
		t.Errorf("of %d messages the quick look knew %d", tries, known)
	}
}

const shortcutDepth = 4

// mutate changes one field of m, or of a message in it.
func mutate(random *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	if fields.Len() == 0 {
		return
	}
	f := fields.Get(random.IntN(fields.Len()))
	switch {
	case random.IntN(8) == 0:
		m.Clear(f)
	case f.IsMap():
		entries := m.Mutable(f).Map()
		value := entries.NewValue()
		if f.MapValue().Message() == nil {
			value = scalar(random, f.MapValue())
		}
		entries.Set(scalar(random, f.MapKey()).MapKey(), value)
	case f.IsList():
		list := m.Mutable(f).List()
		if n := list.Len(); n > 0 && f.Message() != nil && random.IntN(2) == 0 && depth < shortcutDepth {
			mutate(random, list.Get(random.IntN(n)).Message(), depth+1)
			return
		}
		for range [...]int{1, 2, 17, 129, 257, 1025, 4097}[random.IntN(7)] {
			if f.Message() != nil {
				list.Append(list.NewElement())
			} else {
				list.Append(scalar(random, f))
			}
		}
	case f.Message() != nil:
		inner := m.Mutable(f).Message()
		for range random.IntN(3) {
			if depth < shortcutDepth {
				mutate(random, inner, depth+1)
			}
		}
	default:
		m.Set(f, scalar(random, f))
	}
}

// scalar is a value at or beside a bound that rules have.
func scalar(random *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	whole := [...]int64{-3, -2, -1, 0, 1, 2, 8, 9, 20, 21, 50, 51, 128, 129, 600, 601, math.MaxInt32}[random.IntN(17)]
	//exhaustive:ignore
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(random.IntN(2) == 0)
	case protoreflect.StringKind:
		letter := [...]string{"a", "é", "Ω", "A", "-", " "}[random.IntN(6)]
		if words := [...]string{"user", "tool", "v3", "sha256:" + strings.Repeat("0f", 32), "\x00"}; random.IntN(3) == 0 {
			return protoreflect.ValueOfString(words[random.IntN(len(words))])
		}
		return protoreflect.ValueOfString(strings.Repeat(letter, [...]int{0, 1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 513}[random.IntN(13)]))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, [...]int{0, 1, 2, 3, 256, 257}[random.IntN(6)]))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(whole))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(fraction(random)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(fraction(random))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(whole))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(whole)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(whole))
	default:
		return protoreflect.ValueOfUint64(uint64(whole))
	}
}

func fraction(random *rand.Rand) float64 {
	return [...]float64{-2.1, -2, -1, -0.1, 0, 0.5, 1, 1.1, 2, 2.1, math.NaN(), math.Inf(1), math.Inf(-1)}[random.IntN(13)]
}
