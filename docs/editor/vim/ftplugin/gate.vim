" Headgate policies (*.gate): two blanks a level, "#" begins a comment, gq formats with headgate.
if exists('b:did_ftplugin')
  finish
endif
let b:did_ftplugin = 1

setlocal commentstring=#\ %s comments=:#
setlocal expandtab shiftwidth=2 softtabstop=2
setlocal iskeyword+=-,.
" The whole file, with gggqG; what has mistakes stays as it is (undo with u).
setlocal formatprg=headgate\ fmt\ -
setlocal makeprg=headgate\ check\ %:S
setlocal errorformat=%f:%l:%c:\ %trror:\ %m,%f:%l:%c:\ %tarning:\ %m,%-G%.%#

let b:undo_ftplugin = 'setlocal commentstring< comments< expandtab< shiftwidth< softtabstop< iskeyword< formatprg< makeprg< errorformat<'
