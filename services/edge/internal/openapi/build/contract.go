package main

import (
	"fmt"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/contract"
)

// descriptors is the contract, by full names.
type descriptors struct {
	methods  map[string]protoreflect.MethodDescriptor
	messages map[string]protoreflect.MessageDescriptor
}

// described collects the methods that REST offers, and the messages below them.
func described() (*descriptors, error) {
	c := &descriptors{
		methods: make(map[string]protoreflect.MethodDescriptor), messages: make(map[string]protoreflect.MessageDescriptor),
	}
	for _, file := range contract.Files() {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				c.methods[string(m.FullName())] = m
				c.add(m.Input())
				c.add(m.Output())
			}
		}
	}
	if len(c.methods) == 0 {
		return nil, fmt.Errorf("the contract has no methods")
	}
	return c, nil
}

func (c *descriptors) add(md protoreflect.MessageDescriptor) {
	name := string(md.FullName())
	if _, ok := c.messages[name]; ok {
		return
	}
	c.messages[name] = md
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if fd.IsMap() {
			fd = fd.MapValue()
		}
		if sub := fd.Message(); sub != nil {
			c.add(sub)
		}
	}
}

func jsonForm(md protoreflect.MessageDescriptor) commonv1.JsonForm {
	f, _ := proto.GetExtension(md.Options(), commonv1.E_JsonForm).(commonv1.JsonForm)
	return f
}

func isExtra(fd protoreflect.FieldDescriptor) bool {
	b, _ := proto.GetExtension(fd.Options(), commonv1.E_JsonExtra).(bool)
	return b
}

func isNullable(fd protoreflect.FieldDescriptor) bool {
	e, _ := proto.GetExtension(fd.Options(), commonv1.E_JsonEmit).(commonv1.JsonEmit)
	return e == commonv1.JsonEmit_JSON_EMIT_NULL
}

// responseBody is the field that is the answer's body, or nil for all of it.
func responseBody(m protoreflect.MethodDescriptor) protoreflect.FieldDescriptor {
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	return m.Output().Fields().ByName(protoreflect.Name(rule.GetResponseBody()))
}
