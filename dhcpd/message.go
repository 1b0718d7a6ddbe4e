package dhcpd

import "github.com/insomniacslk/dhcp/dhcpv4"

// msg is a packet that is read in place: its fields and the few options that an answer depends on, without a
// copy. The codec makes a map and a dozen slices of every packet, which costs more than all the rest of an
// exchange; it is the oracle in the tests.
type msg struct {
	data []byte
	// value has the options of readable in its order, has tells which are there: one may be empty.
	value [len(readable)][]byte
	has   uint32
	asked set  // option 55
	all   bool // there is no option 55, so that the machine wants everything
}

// set is one of option codes.
type set [4]uint64

func (s *set) add(code uint8)      { s[code>>6] |= 1 << (code & 63) }
func (s *set) has(code uint8) bool { return s[code>>6]&(1<<(code&63)) != 0 }

// The options that are read.
var readable = [...]dhcpv4.OptionCode{
	dhcpv4.OptionDHCPMessageType, dhcpv4.OptionRequestedIPAddress, dhcpv4.OptionServerIdentifier,
	dhcpv4.OptionParameterRequestList, dhcpv4.OptionMaximumDHCPMessageSize, dhcpv4.OptionClientIdentifier,
	dhcpv4.OptionHostName, dhcpv4.OptionClassIdentifier, dhcpv4.OptionUserClassInformation,
	dhcpv4.OptionClientSystemArchitectureType, dhcpv4.OptionClientMachineIdentifier, dhcpv4.OptionEtherboot,
	dhcpv4.OptionRelayAgentInformation, dhcpv4.OptionOptionOverload, dhcpv4.OptionRapidCommit,
	dhcpv4.OptionSubnetSelection, dhcpv4.OptionVendorSpecificInformation,
}

// places gives for an option code its index in readable and one more; 0 for those that are not read.
var places = func() (p [256]uint8) {
	for i, c := range readable {
		p[c.Code()] = uint8(i + 1)
	}
	return p
}()

// Where the fields are (RFC 2131 §2).
const (
	atHTYPE, atHLEN, atXID, atFlags        = 1, 2, 4, 10
	atCIADDR, atYIADDR, atSIADDR, atGIADDR = 12, 16, 20, 24
	atCHADDR, atSNAME, atFile, atCookie    = 28, 44, 108, 236
)

// magic comes before the options (RFC 2131 §3).
const magic = "\x63\x82\x53\x63"

// noMagic is where magic would be in BOOTP packets without a vendor area (RFC 951 has none that is standard).
const noMagic = "\x00\x00\x00\x00"

// read reads b, which must not change as long as m is used. It reports whether b is a DHCP or BOOTP packet.
func (m *msg) read(b []byte) bool {
	*m = msg{data: b}
	if len(b) >= headerSize && string(b[atCookie:headerSize]) == noMagic {
		m.all = true
		return true
	}
	if len(b) < headerSize || string(b[atCookie:headerSize]) != magic || !m.options(b[headerSize:]) {
		return false
	}
	// RFC 2131 §4.1: then file and sname, in this order, hold options as well.
	if v := m.get(dhcpv4.OptionOptionOverload); len(v) == 1 {
		if v[0]&1 != 0 && !m.options(b[atFile:atCookie]) || v[0]&2 != 0 && !m.options(b[atSNAME:atFile]) {
			return false
		}
	}
	list := m.get(dhcpv4.OptionParameterRequestList)
	m.all = len(list) == 0
	for _, c := range list {
		m.asked.add(c)
	}
	return true
}

// options reads options until the End, which some ROMs leave out.
func (m *msg) options(b []byte) bool {
	for len(b) > 0 {
		switch b[0] {
		case 0: // Pad
			b = b[1:]
			continue
		case 255: // End
			return true
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return false
		}
		n := 2 + int(b[1])
		if p := places[b[0]]; p != 0 {
			m.put(p-1, b[2:n:n])
		}
		b = b[n:]
	}
	return true
}

// put notes an option. One that comes again goes on where it ended (RFC 3396 §5).
func (m *msg) put(i uint8, v []byte) {
	if m.has&(1<<i) != 0 {
		v = append(m.value[i], v...) // its capacity ends with it: this copies
	}
	m.value[i] = v
	m.has |= 1 << i
}

// get gives the value of an option of readable; nil if it is not there or empty.
func (m *msg) get(code dhcpv4.OptionCode) []byte { return m.value[places[code.Code()]-1] }

func (m *msg) carries(code dhcpv4.OptionCode) bool {
	return m.has&(1<<(places[code.Code()]-1)) != 0
}

// wants reports whether the machine asked for an option (option 55, RFC 2132 §9.8). One that has no such
// list wants everything.
func (m *msg) wants(code dhcpv4.OptionCode) bool { return m.all || m.asked.has(code.Code()) }
