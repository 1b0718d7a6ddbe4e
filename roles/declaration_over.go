package roles

import "reflect"

// Over gives base with every field that is set in r replaced by r's; the recipe is compared field by field
// too; files, secrets and variables one by one. A health check is replaced as a whole: its kinds exclude each
// other.
func (r Role) Over(base Role) Role {
	override(reflect.ValueOf(&base).Elem(), reflect.ValueOf(r))
	return base
}

func override(dst, src reflect.Value) {
	for i := range src.NumField() {
		d, s := dst.Field(i), src.Field(i)
		switch {
		case s.IsZero() || merge(d, s):
		case s.Kind() == reflect.Struct:
			override(d, s)
		default:
			d.Set(s)
		}
	}
}
