package main

import (
	"fmt"
	"maps"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// messages gives every schema of a message its true form.
func messages(doc object, c *descriptors) error {
	schemas := at(doc, "components", "schemas")
	for name, s := range schemas {
		md, ok := c.messages[name]
		schema, isObject := s.(object)
		if !ok || !isObject {
			continue
		}
		if err := message(schema, md); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// Bodies of calls with parameters in their path are spelt out in place.
	return walk(doc["paths"], func(o object) error {
		title, _ := o["title"].(string)
		md, ok := c.messages[title]
		if _, isSchema := o["properties"]; !ok || !isSchema {
			return nil
		}
		return message(o, md)
	})
}

func message(schema object, md protoreflect.MessageDescriptor) error {
	description := schema["description"]
	switch form := jsonForm(md); form {
	case commonv1.JsonForm_JSON_FORM_RAW:
		replace(schema, object{"description": "Any JSON value."})
		return nil
	case commonv1.JsonForm_JSON_FORM_LIST:
		replace(schema, list(md.Fields().Get(0)))
	case commonv1.JsonForm_JSON_FORM_UNION:
		var forms []any
		for i := range md.Fields().Len() {
			forms = append(forms, valueSchema(md.Fields().Get(i)))
		}
		replace(schema, object{"anyOf": append(forms, object{"type": "null"})})
	case commonv1.JsonForm_JSON_FORM_UNSPECIFIED:
		return plain(schema, md)
	default:
		return fmt.Errorf("unknown JSON form %v", form)
	}
	schema["title"] = string(md.FullName())
	if description != nil {
		schema["description"] = description
	}
	return nil
}

// plain handles a message that is an object.
func plain(schema object, md protoreflect.MessageDescriptor) error {
	if _, ok := schema["oneOf"]; ok {
		// The members are those of the alternatives, which this would forbid.
		delete(schema, "additionalProperties")
	}
	properties, ok := schema["properties"].(object)
	if !ok {
		return nil
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		name := string(fd.Name())
		if isExtra(fd) {
			delete(properties, name)
			schema["additionalProperties"] = true
			continue
		}
		p, ok := properties[name].(object)
		if !ok {
			continue // a parameter of the path
		}
		delete(p, "title") // it only repeats the name
		if t, ok := p["type"].(string); ok && isNullable(fd) {
			p["type"] = []any{t, "null"}
		}
	}
	return nil
}

func list(fd protoreflect.FieldDescriptor) object {
	return object{"type": "array", "items": valueSchema(fd)}
}

// valueSchema is the schema of one value of a field.
func valueSchema(fd protoreflect.FieldDescriptor) object {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return ref("schemas", string(fd.Message().FullName()))
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return object{"type": "number"}
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		return object{"type": "string"}
	default:
		return object{"type": "integer"}
	}
}

func replace(schema, with object) {
	clear(schema)
	maps.Copy(schema, with)
}

// walk calls f for every object below v, v included.
func walk(v any, f func(object) error) error {
	switch v := v.(type) {
	case object:
		if err := f(v); err != nil {
			return err
		}
		for _, sub := range v {
			if err := walk(sub, f); err != nil {
				return err
			}
		}
	case []any:
		for _, sub := range v {
			if err := walk(sub, f); err != nil {
				return err
			}
		}
	}
	return nil
}

const schemaPrefix = "#/components/schemas/"

// reachable drops schemas that no call leads to.
func reachable(doc object, _ *descriptors) error {
	schemas := at(doc, "components", "schemas")
	keep := make(map[string]bool)
	var follow func(v any) error
	follow = func(v any) error {
		return walk(v, func(o object) error {
			to, _ := o["$ref"].(string)
			name, ok := strings.CutPrefix(to, schemaPrefix)
			if !ok || keep[name] {
				return nil
			}
			if schemas[name] == nil {
				return fmt.Errorf("there is no schema %s", name)
			}
			keep[name] = true
			return follow(schemas[name])
		})
	}
	if err := follow(doc["paths"]); err != nil {
		return err
	}
	if err := follow(at(doc, "components", "responses")); err != nil {
		return err
	}
	for name := range schemas {
		if !keep[name] {
			delete(schemas, name)
		}
	}
	return nil
}

// names shortens what people read: poterne.edge.v1.ChatMessage is
// edge.ChatMessage, and a text is one paragraph.
func names(doc object, _ *descriptors) error {
	schemas := at(doc, "components", "schemas")
	for name, s := range schemas {
		if short := shortName(name); short != name {
			delete(schemas, name)
			schemas[short] = s
		}
	}
	return walk(doc, func(o object) error {
		if to, ok := o["$ref"].(string); ok {
			if name, ok := strings.CutPrefix(to, schemaPrefix); ok {
				o["$ref"] = schemaPrefix + shortName(name)
			}
		}
		if title, ok := o["title"].(string); ok {
			o["title"] = shortName(title)
		}
		if text, ok := o["description"].(string); ok {
			o["description"] = strings.ReplaceAll(text, "\n ", "\n")
		}
		return nil
	})
}

func shortName(name string) string {
	if rest, ok := strings.CutPrefix(name, "poterne."); ok {
		return strings.Replace(rest, ".v1.", ".", 1)
	}
	return name
}
