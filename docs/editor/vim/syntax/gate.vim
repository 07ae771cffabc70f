" Vim syntax file: Headgate policies (*.gate)
" Written from src/language/vocabulary.ts by: npx vitest run test/unit/editor.test.ts -u
if exists('b:current_syntax')
  finish
endif

" Names and words have "-" and "." in them: local.port, torrent-ports.
syntax iskeyword @,48-57,_,-,.

syntax keyword gateStatement link queue set let rule default expect include marks
syntax keyword gateConnective when and or not in for until
syntax keyword gateEffect add mirror police to
syntax keyword gateSubject origin protocol family local remote local.port remote.port device mac dscp zone nat helper user process unit cgroup domain bytes bytes.in bytes.out packets packets.in packets.out rate rate.in rate.out age idle size ratio tcp.state count time day p2p held over by flows peers
syntax keyword gateSetting download upload overhead tree numtxqueues ifb share bypass replace conntrack ceiling leaf fair mpu with per
syntax keyword gateValue icmp tcp udp gre esp icmpv6 sctp new ipv4 ipv6 cs0 cs1 cs2 cs3 cs4 cs5 cs6 cs7 af11 af12 af13 af21 af22 af23 af31 af32 af33 af41 af42 af43 ef va le source destination any none syn_sent syn_recv established fin_wait close_wait last_ack time_wait close syn_sent2 sun mon tue wed thu fri sat bfifo fq_codel sfq cake tbf htb prio netdev-ingress query create flow host ethernet atm ptm conservative ipoa-vcmux ipoa-llcsnap bridged-vcmux bridged-llcsnap pppoa-vcmux pppoa-llc pppoe-vcmux pppoe-llcsnap pppoe-ptm bridged-ptm docsis ether-vlan
syntax match gateNumber /\<\d[0-9A-Za-z_.:\/%]*/
syntax match gateNumber /\<\x\{0,4}:[0-9A-Za-z_.:\/%]*/
syntax match gateArrow /->/
syntax region gateString start=/"/ end=/"/ oneline
syntax region gateString start=/'/ end=/'/ oneline
syntax match gateComment /#.*$/

highlight default link gateStatement Statement
highlight default link gateConnective Operator
highlight default link gateEffect Function
highlight default link gateSubject Identifier
highlight default link gateSetting Type
highlight default link gateValue Constant
highlight default link gateNumber Number
highlight default link gateArrow Operator
highlight default link gateString String
highlight default link gateComment Comment

let b:current_syntax = 'gate'
